double apply_abs(const double *a);

double apply_abs(const double *a)
{
    return a[0] < 0 ? -a[0] : a[0];
}
