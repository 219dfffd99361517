double apply_remainder(const double *a);

double apply_remainder(const double *a)
{
    if (a[1] == 0)
        return 0;
    return a[0] - a[1] * (long long)(a[0] / a[1]);
}
