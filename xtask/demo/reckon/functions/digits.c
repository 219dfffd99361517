double apply_digits(const double *a);

double apply_digits(const double *a)
{
    long long n = a[0], sum = 0;
    for (; n > 0; n /= 10)
        sum += n % 10;
    return sum;
}
