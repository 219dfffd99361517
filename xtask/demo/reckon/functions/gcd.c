double apply_gcd(const double *a);

double apply_gcd(const double *a)
{
    long long x = a[0], y = a[1];
    while (y) {
        long long rest = x % y;
        x = y;
        y = rest;
    }
    return x;
}
