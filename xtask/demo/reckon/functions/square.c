double apply_square(const double *a);

double apply_square(const double *a)
{
    return a[0] * a[0];
}
