double apply_triangle(const double *a);

double apply_triangle(const double *a)
{
    return a[0] * (a[0] + 1) / 2;
}
