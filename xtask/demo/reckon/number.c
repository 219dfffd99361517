#include "reckon.h"

#include <stdlib.h>

double read_number(struct input *input)
{
    char *end;
    double value = strtod(input->at, &end);
    if (end == input->at)
        input->error = "a number is missing";
    input->at = end;
    return value;
}
