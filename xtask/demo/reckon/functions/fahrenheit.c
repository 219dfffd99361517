double apply_fahrenheit(const double *a);

double apply_fahrenheit(const double *a)
{
    return a[0] * 9 / 5 + 32;
}
