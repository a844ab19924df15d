/* A program that is no Python and opens one when it runs: late_host LIBPYTHON global|local PROGRAM */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    if (argc != 4)
        return 3;
    void *python = dlopen(argv[1], RTLD_NOW | (strcmp(argv[2], "global") == 0 ? RTLD_GLOBAL : RTLD_LOCAL));
    if (!python) {
        fprintf(stderr, "%s\n", dlerror());
        return 4;
    }
    void (*initialize)(void) = (void (*)(void))dlsym(python, "Py_Initialize");
    int (*run)(const char *, void *) = (int (*)(const char *, void *))dlsym(python, "PyRun_SimpleStringFlags");
    int (*finalize)(void) = (int (*)(void))dlsym(python, "Py_FinalizeEx");
    for (int life = 0; life < 2; life++) {
        initialize();
        if (run(argv[3], NULL) != 0)
            return 1;
        if (finalize() != 0)
            return 2;
    }
    return 7;
}
