/* Random commands on two copies of the namespace: equal states, equal results, invariants. */
#include "tests/lib/namespace_random.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    (void)random_two_copies((struct span){data, size < 4096 ? size : 4096});
    return 0;
}
