double apply_exp(const double *a);

double apply_exp(const double *a)
{
    double sum = 1, part = 1;
    for (int i = 1; i < 100; i++) {
        part *= a[0] / i;
        sum += part;
    }
    return sum;
}
