double apply_percent(const double *a);

double apply_percent(const double *a)
{
    return a[0] * a[1] / 100;
}
