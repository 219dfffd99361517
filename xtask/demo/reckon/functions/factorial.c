double apply_factorial(const double *a);

double apply_factorial(const double *a)
{
    double product = 1;
    for (int i = 2; i <= a[0]; i++)
        product *= i;
    return product;
}
