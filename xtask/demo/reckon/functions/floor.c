double apply_floor(const double *a);

double apply_floor(const double *a)
{
    long long whole = (long long)a[0];
    return whole > a[0] ? whole - 1 : whole;
}
