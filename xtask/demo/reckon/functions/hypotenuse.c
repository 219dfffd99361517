double apply_root(const double *a);
double apply_hypotenuse(const double *a);

double apply_hypotenuse(const double *a)
{
    double squares = a[0] * a[0] + a[1] * a[1];
    return apply_root(&squares);
}
