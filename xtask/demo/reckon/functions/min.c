double apply_min(const double *a);

double apply_min(const double *a)
{
    return a[0] < a[1] ? a[0] : a[1];
}
