double apply_celsius(const double *a);

double apply_celsius(const double *a)
{
    return (a[0] - 32) * 5 / 9;
}
