#include "reckon.h"

void skip_spaces(struct input *input)
{
    while (*input->at == ' ' || *input->at == '\t')
        input->at++;
}

int accept(struct input *input, char wanted)
{
    skip_spaces(input);
    if (*input->at != wanted)
        return 0;
    input->at++;
    return 1;
}
