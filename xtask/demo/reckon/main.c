#include "reckon.h"

#include <stdio.h>

int main(int count, char **words)
{
    for (int i = 1; i < count; i++) {
        const char *error = NULL;
        double value = reckon(words[i], &error);
        printf("%s = ", words[i]);
        if (error) {
            printf("error: %s\n", error);
            return 1;
        }
        print_value(value);
    }
    return 0;
}
