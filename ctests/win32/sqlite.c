/*
 * SQLite with its mutexes for Windows (mutex_w32.c) on <hostcrst/win32.h>: threads share one connection, whose mutex is a
 * CRITICAL_SECTION that is entered again and again by its owner. sqlite.sh builds it, with SQLite's own assertions.
 */
#include <hostcrst.h>
#include <hostcrst/win32.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sqlite3.h"

enum { THREADS = 4, ROWS = 2000 };

static sqlite3 *connection;

/* SQLite's own is in what it has for Windows alone. */
void sqlite3_win32_sleep(DWORD milliseconds)
{
    usleep(milliseconds * 1000);
}

static void require(int holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "sqlite: %s\n", what);
        exit(1);
    }
}

static void *insert_rows(void *unused)
{
    (void)unused;
    for (int row = 0; row < ROWS; row++) {
        require(sqlite3_exec(connection, "insert into numbers values (1)", NULL, NULL, NULL) == SQLITE_OK, "insert");
    }
    return NULL;
}

static int keep_number(void *number, int columns, char **values, char **names)
{
    (void)names;
    *(long *)number = columns == 1 ? atol(values[0]) : -1;
    return 0;
}

/* Whether the report has this. */
static int is_reported(const char *what)
{
    static char text[1 << 20];
    FILE *file = tmpfile();
    require(file != NULL && host_report(fileno(file), HOST_REPORT_TEXT) == S_OK, "report");
    rewind(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return strstr(text, what) != NULL;
}

int main(void)
{
    pthread_t threads[THREADS];
    long sum = 0;
    require(sqlite3_threadsafe() == 1, "it is built without mutexes");
    require(sqlite3_open(":memory:", &connection) == SQLITE_OK, "open");
    require(sqlite3_exec(connection, "create table numbers (number)", NULL, NULL, NULL) == SQLITE_OK, "create");
    for (int at = 0; at < THREADS; at++) {
        require(pthread_create(&threads[at], NULL, insert_rows, NULL) == 0, "thread");
    }
    for (int at = 0; at < THREADS; at++) {
        pthread_join(threads[at], NULL);
    }
    require(sqlite3_exec(connection, "select sum(number) from numbers", keep_number, &sum, NULL) == SQLITE_OK, "select");
    require(sum == (long)THREADS * ROWS, "rows were lost");
    require(!is_reported(", 0 sections ("), "it uses no sections");
    require(!is_reported("Misuse of critical sections"), "misuse is reported");
    require(sqlite3_close(connection) == SQLITE_OK && sqlite3_shutdown() == SQLITE_OK, "close");
    require(!is_reported("Misuse of critical sections"), "misuse is reported in the end");
    printf("SQLite %s: %ld rows by %d threads through critical sections, misuse 0\n", sqlite3_libversion(), sum, THREADS);
    return 0;
}
