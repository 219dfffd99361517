double apply_prime(const double *a);

double apply_prime(const double *a)
{
    long long n = a[0];
    for (long long i = 2; i * i <= n; i++)
        if (n % i == 0)
            return 0;
    return n > 1;
}
