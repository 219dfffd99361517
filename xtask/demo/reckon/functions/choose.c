double apply_choose(const double *a);

double apply_choose(const double *a)
{
    double ways = 1;
    for (int i = 1; i <= a[1]; i++)
        ways = ways * (a[0] - a[1] + i) / i;
    return ways;
}
