/* A small library that the fuzzer begins with: a function, one that is not exported, and a variable. */
int seven = 7;

int twice(int number)
{
    return 2 * number;
}

__attribute__((noinline, used)) static int hidden(int number)
{
    return number + seven;
}
