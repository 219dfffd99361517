double apply_max(const double *a);

double apply_max(const double *a)
{
    return a[0] > a[1] ? a[0] : a[1];
}
