/* A program with Python in it: host LIVES PROGRAM runs the text that often, each time in a new interpreter. */
#include <Python.h>

int main(int argc, char **argv)
{
    if (argc < 3)
        return 3;
    for (int life = 0; life < atoi(argv[1]); life++) {
        Py_Initialize();
        if (PyRun_SimpleString(argv[2]))
            return 1;
        if (Py_FinalizeEx())
            return 2;
    }
    return 0;
}
