double apply_root(const double *a);

double apply_root(const double *a)
{
    double guess = a[0] > 1 ? a[0] : 1;
    for (int i = 0; i < 100; i++)
        guess = (guess + a[0] / guess) / 2;
    return guess;
}
