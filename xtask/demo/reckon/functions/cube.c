double apply_cube(const double *a);

double apply_cube(const double *a)
{
    return a[0] * a[0] * a[0];
}
