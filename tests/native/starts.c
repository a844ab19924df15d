/* Starts programs in every way that the C library has; test_preload.py runs it with the shim and without.
 *
 * With GO_NOTE defined it carries the note by which programs of the Go toolchain are known.
 *
 *   starts show                prints the environment, a variable a line
 *   starts run HOW WHERE ENV PROGRAM ARG...   HOW: a function's name, such as execve or popen, or
 *                                             syscall for an execve without the C library
 *                                             WHERE: here, fork, vfork or thread
 *                                             ENV: inherit, empty, or N for N variables TAG_i=i
 *   starts errors              what each function says of what cannot be run; ./empty is executable
 *                              and empty, ./unreadable neither
 *   starts bad                 what each says of an environment that is not there, or ends nowhere
 *   starts shell               what system() and popen() do to status, signals and environment
 *   starts after-popen         prints the environment after a popen()
 *   starts grow                sets variables until the environment has moved; prints it
 *   starts auxv                walks from argv over the environment to the auxiliary vector, as the
 *                              Go runtime of a shared library does; prints the page size
 *   starts cancel              a thread is cancelled inside system()
 *   starts limit               how many bytes of environment an exec of /bin/true takes
 *   starts leak N              vfork and exec with N variables, again and again: pages left mapped
 *   starts leak-old N          the same as on kernels that do not tell whom they wake at the end of a task
 *   starts threads N           threads that all start `starts expect N TAG` at once
 *   starts expect N TAG        ends with 0 when the environment is exactly TAG_0=0 ... TAG_N-1=N-1
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef GO_NOTE
__asm__(".pushsection .note.go.buildid,\"a\",@note\n"
        ".balign 4\n .long 4, 4, 4\n .ascii \"Go\\0\\0abcd\"\n"
        ".popsection");
#endif

static void die(const char *what)
{
    perror(what);
    exit(99);
}

static char **variables(const char *tag, int count)
{
    char **list = calloc((size_t)count + 1, sizeof *list);
    for (int i = 0; list && i < count; i++)
        if (asprintf(&list[i], "%s_%d=%d", tag, i, i) < 0)
            die("asprintf");
    return list;
}

static int wait_for(pid_t pid)
{
    int status;
    if (waitpid(pid, &status, 0) != pid)
        die("waitpid");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Calls the function HOW. Those without an environment parameter get `envp` as environ. Returns the
 * child's exit status for those that start one, or -1 with errno. */
static int call(const char *how, char *const argv[], char **envp)
{
    const char *program = argv[0], *slash = strrchr(program, '/'), *name = slash ? slash + 1 : program;
    pid_t pid;
    int error, fd;
    char *one = argv[1], *two = one ? argv[2] : NULL;
    if (strcmp(how, "execve") == 0)
        return execve(program, argv, envp);
    if (strcmp(how, "syscall") == 0)
        return (int)syscall(SYS_execve, program, argv, envp);
    if (strcmp(how, "execvpe") == 0)
        return execvpe(name, argv, envp);
    if (strcmp(how, "execle") == 0)
        return two   ? execle(program, program, one, two, NULL, envp)
               : one ? execle(program, program, one, NULL, envp)
                     : execle(program, program, NULL, envp);
    if (strcmp(how, "fexecve") == 0)
        return (fd = open(program, O_RDONLY | O_CLOEXEC)) < 0 ? -1 : fexecve(fd, argv, envp);
    if (strcmp(how, "execveat") == 0)
        return execveat(AT_FDCWD, program, argv, envp, 0);
    if (strcmp(how, "posix_spawn") == 0 || strcmp(how, "posix_spawnp") == 0) {
        error = how[11] ? posix_spawnp(&pid, name, NULL, NULL, argv, envp)
                        : posix_spawn(&pid, program, NULL, NULL, argv, envp);
        errno = error;
        return error ? -1 : wait_for(pid);
    }
    environ = envp;
    if (strcmp(how, "execv") == 0)
        return execv(program, argv);
    if (strcmp(how, "execvp") == 0)
        return execvp(name, argv);
    if (strcmp(how, "execl") == 0)
        return execl(program, program, one, two, NULL);
    if (strcmp(how, "execlp") == 0)
        return execlp(name, program, one, two, NULL);
    char command[4096];
    snprintf(command, sizeof command, "%s %s %s", program, one ? one : "", two ? two : "");
    if (strcmp(how, "system") == 0)
        return WEXITSTATUS(system(command));
    if (strcmp(how, "popen") == 0) {
        FILE *stream = popen(command, "r");
        for (int byte; stream && (byte = getc(stream)) != EOF;)
            putchar(byte);
        fflush(stdout);
        return stream ? WEXITSTATUS(pclose(stream)) : -1;
    }
    errno = ENOSYS;
    die(how);
    return -1;
}

struct start {
    const char *how;
    char **argv, **envp;
};

static void *call_in_thread(void *argument)
{
    struct start *start = argument;
    int status = call(start->how, start->argv, start->envp);
    if (status < 0)
        die(start->how);
    exit(status);
}

static int run(char **argv)
{
    const char *where = argv[3], *env = argv[4];
    char *none[] = {NULL};
    struct start start = {.how = argv[2], .argv = argv + 5};
    start.envp = strcmp(env, "inherit") == 0 ? environ
                 : strcmp(env, "empty") == 0 ? none : variables("TAG", atoi(env));
    char **own = environ;
    if (strcmp(where, "thread") == 0) {
        pthread_t thread;
        pthread_create(&thread, NULL, call_in_thread, &start);
        pause();
    }
    pid_t pid = strcmp(where, "fork") == 0 ? fork() : 0;
    if (strcmp(where, "vfork") == 0)
        pid = vfork();
    if (pid == 0) {
        int status = call(start.how, start.argv, start.envp);
        if (strcmp(where, "here") != 0)
            _exit(status < 0 ? 99 : status);
        if (status < 0)
            die(start.how);
        return status;
    }
    environ = own; /* the child of vfork may have set it */
    return wait_for(pid);
}

static void say(const char *what, int result)
{
    printf("%s: %d, %s\n", what, result, strerror(errno));
}

static int errors(void)
{
    static const char *const functions[] = {"execve", "execv", "execvp", "execvpe", "execl", "execlp",
        "execle", "fexecve", "execveat", "posix_spawn", "posix_spawnp"};
    static char *const programs[] = {"/nowhere/to/be/found", "/etc", "./unreadable", "./empty", ""};
    char **given = variables("TAG", 5), **copy = variables("TAG", 5);
    for (int i = 0; i < 5; i++)
        copy[i] = given[i];
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        for (size_t j = 0; j < sizeof programs / sizeof *programs; j++) {
            char **own = environ;
            char *argv[] = {programs[j], NULL};
            errno = 0;
            int result = call(functions[i], argv, given);
            environ = own;
            printf("%s ", functions[i]);
            say(programs[j], result);
        }
    errno = 0;
    say("no descriptor", fexecve(-1, (char *[]){"x", NULL}, environ));
    return memcmp(given, copy, 6 * sizeof *given) != 0;
}

static int bad(void)
{
    static const char *const functions[] = {"execve", "execv", "execvpe", "execl", "execle", "fexecve",
        "execveat", "posix_spawn", "posix_spawnp"};
    char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *end = page + 4096;
    if (page == MAP_FAILED || munmap(end, 4096) != 0)
        die("mmap");
    char **endless = (char **)end - 2;
    endless[0] = endless[1] = "A=1";
    char *unended = memset(end - 32, 'x', 16); /* followed by what is no character of a name either */
    memcpy(end - 16, "A=1\0PYTHONAUDIT", 16);
    memcpy(end - 8, "LD_PRELO", 8);
    char **environments[] = {
        (char **)8, (char **)-8, endless, (char *[]){"A=1", (char *)8, NULL}, (char *[]){unended, (char *)-1, NULL},
        (char *[]){end - 8, NULL}, (char *[]){end - 1, "A=1", NULL}, (char *[]){end, NULL}};
    char **own = environ, *argv[] = {"/bin/true", NULL};
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        for (size_t j = 0; j < sizeof environments / sizeof *environments; j++) {
            errno = 0;
            int result = call(functions[i], argv, environments[j]);
            environ = own;
            printf("%s %zu ", functions[i], j);
            say("bad", result);
        }
    return 0;
}

static volatile sig_atomic_t children;

static void on_child(int number)
{
    (void)number;
    children++;
}

static void disposition(const char *when)
{
    struct sigaction interrupt, quit;
    sigset_t mask;
    sigaction(SIGINT, NULL, &interrupt);
    sigaction(SIGQUIT, NULL, &quit);
    sigprocmask(SIG_BLOCK, NULL, &mask);
    printf("%s: int %s, quit %s, child %s\n", when, interrupt.sa_handler == SIG_IGN ? "ignored" : "other",
           quit.sa_handler == SIG_IGN ? "ignored" : "other", sigismember(&mask, SIGCHLD) ? "blocked" : "open");
}

static int shell(void)
{
    static const char *const commands[] = {"exit 3", "kill -9 $$", "kill -INT $$", "kill -INT $PPID; exit 4",
        "kill -QUIT $PPID; exit 5", "-x", "", "echo \"$0 $#\"", "grep Sig[BI] /proc/self/status"};
    setvbuf(stdout, NULL, _IONBF, 0);
    signal(SIGCHLD, on_child);
    for (int ignored = 0; ignored < 2; ignored++) {
        signal(SIGINT, ignored ? SIG_IGN : SIG_DFL);
        for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
            errno = 0;
            children = 0;
            say(commands[i], system(commands[i]));
            printf("SIGCHLD %d times\n", children);
            disposition("after");
        }
    }
    errno = 0;
    say("none", system(NULL));

    char **before = environ;
    FILE *writer = popen("cat", "w"), *reader = popen("ls /proc/self/fd | wc -l; exit 7", "re");
    if (!writer || !reader)
        die("popen");
    fputs("through cat\n", writer);
    printf("flags %d\n", fcntl(fileno(reader), F_GETFD));
    for (int byte; (byte = getc(reader)) != EOF;)
        putchar(byte);
    say("pclose", pclose(reader));
    say("pclose", pclose(writer));
    errno = 0;
    say("mode", popen("true", "x") != NULL);
    return environ != before;
}

static int cancel_pipe[2];

static void *cancel_thread(void *unused)
{
    (void)unused;
    char command[100];
    snprintf(command, sizeof command, "echo $$ >&%d; exec sleep 1000", cancel_pipe[1]);
    system(command);
    return NULL;
}

static int cancel(void)
{
    pthread_t thread;
    char line[30] = "";
    void *result;
    if (pipe(cancel_pipe) != 0)
        die("pipe");
    pthread_create(&thread, NULL, cancel_thread, NULL);
    if (read(cancel_pipe[0], line, sizeof line - 1) <= 0)
        die("read");
    pthread_cancel(thread);
    pthread_join(thread, &result);
    printf("cancelled %d, alive %d\n", result == PTHREAD_CANCELED, kill(atoi(line), 0) == 0);
    disposition("after");
    return 0;
}

static int limit(void)
{
    struct rlimit stack = {1 << 20, RLIM_INFINITY}; /* an exec gets a quarter of it */
    setrlimit(RLIMIT_STACK, &stack);
    int fits = 0, fails = 1 << 20;
    while (fails - fits > 1) {
        int size = (fits + fails) / 2;
        char *envp[32] = {NULL}, *argv[] = {"/bin/true", NULL};
        for (int i = 0, rest = size; rest > 0; i++, rest -= 65536) {
            int length = rest < 65536 ? rest : 65536;
            envp[i] = memset(calloc(1, (size_t)length + 1), 'x', (size_t)length);
        }
        pid_t pid;
        int error = posix_spawn(&pid, "/bin/true", NULL, NULL, argv, envp);
        for (int i = 0; envp[i]; i++)
            free(envp[i]);
        if (error && error != E2BIG)
            die("posix_spawn");
        if (!error && wait_for(pid) != 0)
            die("true");
        *(error ? &fails : &fits) = size;
    }
    printf("%d\n", fits);
    return 0;
}

static long mapped_pages(void)
{
    long pages;
    FILE *statm = fopen("/proc/self/statm", "r");
    if (fscanf(statm, "%ld", &pages) != 1)
        die("statm");
    fclose(statm);
    return pages;
}

/* As without CONFIG_CHECKPOINT_RESTORE. */
static void forget_tid_address(void)
{
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_prctl, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PR_GET_TID_ADDRESS, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof program / sizeof *program, program};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0)
        die("seccomp");
}

static int leak(int count)
{
    char **envp = variables("TAG", count), *argv[] = {"/bin/true", NULL};
    long before = 0;
    for (int i = 0; i < 50; i++) {
        pid_t pid = vfork();
        if (pid == 0) {
            execve("/nowhere/to/be/found", argv, envp);
            execve("/bin/true", argv, envp);
            _exit(99);
        }
        if (wait_for(pid) != 0)
            return 1;
        if (i == 0)
            before = mapped_pages();
    }
    printf("%ld\n", mapped_pages() - before);
    return 0;
}

static int threads_variables;

static void *start_many(void *argument)
{
    char tag[20], count[20];
    snprintf(tag, sizeof tag, "T%ld", (long)argument);
    snprintf(count, sizeof count, "%d", threads_variables);
    char **envp = variables(tag, threads_variables), *argv[] = {"/proc/self/exe", "expect", count, tag, NULL};
    for (int i = 0; i < 10; i++) {
        pid_t pid;
        if (i % 2) {
            if (posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, envp) != 0)
                die("posix_spawn");
        } else if ((pid = vfork()) == 0) {
            execve("/proc/self/exe", argv, envp);
            _exit(99);
        }
        if (wait_for(pid) != 0)
            return "a child saw another environment";
    }
    return NULL;
}

static int threads(int count)
{
    pthread_t thread[8];
    int failed = 0;
    threads_variables = count;
    for (long i = 0; i < 8; i++)
        pthread_create(&thread[i], NULL, start_many, (void *)i);
    for (int i = 0; i < 8; i++) {
        void *complaint;
        pthread_join(thread[i], &complaint);
        failed |= complaint != NULL;
    }
    return failed;
}

static int expect(int count, const char *tag)
{
    char **wanted = variables(tag, count);
    for (int i = 0; i <= count; i++)
        if (!environ[i] || !wanted[i] ? environ[i] != wanted[i] : strcmp(environ[i], wanted[i]) != 0)
            return 1;
    return 0;
}

static void grow(void)
{
    for (int i = 0; i < 1000; i++) {
        char name[20];
        snprintf(name, sizeof name, "GROWN_%d", i);
        setenv(name, "1", 1);
    }
}

static int auxv(char **argv, int argc, char **envp)
{
    char **at = argv + argc + 1;
    while (*at)
        at++;
    for (const unsigned long *pair = (void *)(at + 1); *pair != AT_NULL; pair += 2)
        if (*pair == AT_PAGESZ)
            printf("page size %lu, %s\n", pair[1], pair[1] == getauxval(AT_PAGESZ) ? "right" : "wrong");
    return envp != environ;
}

int main(int argc, char **argv, char **envp)
{
    const char *what = argc > 1 ? argv[1] : "";
    int grown = strcmp(what, "grow") == 0;
    if (grown)
        grow();
    int popened = strcmp(what, "after-popen") == 0;
    if (popened)
        pclose(popen("true", "r"));
    if (grown || popened || strcmp(what, "show") == 0) {
        for (char **entry = environ; *entry; entry++)
            puts(*entry);
        return 0;
    }
    if (strcmp(what, "run") == 0 && argc > 5)
        return run(argv);
    if (strcmp(what, "auxv") == 0)
        return auxv(argv, argc, envp);
    if (strcmp(what, "errors") == 0)
        return errors();
    if (strcmp(what, "bad") == 0)
        return bad();
    if (strcmp(what, "shell") == 0)
        return shell();
    if (strcmp(what, "cancel") == 0)
        return cancel();
    if (strcmp(what, "limit") == 0)
        return limit();
    if (strcmp(what, "leak-old") == 0)
        forget_tid_address();
    if (strncmp(what, "leak", 4) == 0 && argc > 2)
        return leak(atoi(argv[2]));
    if (strcmp(what, "threads") == 0 && argc > 2)
        return threads(atoi(argv[2]));
    if (strcmp(what, "expect") == 0 && argc > 3)
        return expect(atoi(argv[2]), argv[3]);
    return 2;
}
