#include "reckon.h"

#include <stdio.h>

void print_value(double value)
{
    if (value > -1e15 && value < 1e15 && value == (double)(long long)value)
        printf("%lld\n", (long long)value);
    else
        printf("%.12g\n", value);
}
