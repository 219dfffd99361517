double apply_sine(const double *a);

double apply_sine(const double *a)
{
    double sum = 0, part = a[0];
    for (int i = 1; i < 60; i += 2) {
        sum += part;
        part *= -a[0] * a[0] / ((i + 1) * (i + 2));
    }
    return sum;
}
