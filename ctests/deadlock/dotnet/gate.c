/* A native function for the tests' .NET programs to be in. */
#include <pthread.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int opened;
static int waiting;

/* Waits at the gate until it is opened, if asked to. Returns what it got. */
int gate(int wait)
{
    if (wait != 0) {
        pthread_mutex_lock(&mutex);
        waiting++;
        while (!opened) {
            pthread_cond_wait(&changed, &mutex);
        }
        pthread_mutex_unlock(&mutex);
    }
    return wait;
}

/* How many threads have come to the gate. */
int gate_waiting(void)
{
    int count;
    pthread_mutex_lock(&mutex);
    count = waiting;
    pthread_mutex_unlock(&mutex);
    return count;
}

void gate_open(void)
{
    pthread_mutex_lock(&mutex);
    opened = 1;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
}
