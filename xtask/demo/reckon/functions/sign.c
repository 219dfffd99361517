double apply_sign(const double *a);

double apply_sign(const double *a)
{
    return (a[0] > 0) - (a[0] < 0);
}
