double apply_fibonacci(const double *a);

double apply_fibonacci(const double *a)
{
    double now = 0, next = 1;
    for (int i = 0; i < a[0]; i++) {
        double sum = now + next;
        now = next;
        next = sum;
    }
    return now;
}
