double apply_power(const double *a);

double apply_power(const double *a)
{
    double product = 1;
    for (int i = 0; i < a[1]; i++)
        product *= a[0];
    return product;
}
