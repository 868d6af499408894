/* The warm path of complete_files.py in one step: three system calls, and the comparison between them and their caller.
 *
 * It says yes or nothing. Whatever does not go as it should is tried again in Python, which finds out what it is and decides
 * what follows from it; so no rule but the order of the calls is written twice.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* As in locks.py. */
#define PIN_BYTE (1LL << 60)
#ifndef F_OFD_SETLK
#define F_OFD_SETLK 37
#endif

#define NS 1000000000LL

/* How a file is expected to look. */
typedef struct {
    long long size, mtime_ns, ctime_ns;
} Looks;

static int
is_at(const struct timespec *time, long long ns)
{
    return ns >= 0 && time->tv_sec == ns / NS && time->tv_nsec == ns % NS;
}

/* A descriptor of *path*, pinned before the file is compared; -1 where anything is not as expected. */
static int
open_and_compare(const char *path, int flags, const Looks *looks, struct stat *found)
{
    struct flock pin = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = PIN_BYTE, .l_len = 1};
    int fd = open(path, flags);

    if (fd < 0)
        return -1;
    if (fcntl(fd, F_OFD_SETLK, &pin) == 0 && fstat(fd, found) == 0 && found->st_size == looks->size &&
        is_at(&found->st_mtim, looks->mtime_ns) && is_at(&found->st_ctim, looks->ctime_ns))
        return fd;
    close(fd);
    return -1;
}

/* open_pinned(path, flags, size, mtime_ns, ctime_ns) */
static PyObject *
open_pinned(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *path, *result;
    struct stat found;
    Looks looks;
    long flags;
    int fd;

    if (nargs != 5) {
        PyErr_SetString(PyExc_TypeError, "open_pinned() takes a path, flags, a size and two times");
        return NULL;
    }
    flags = PyLong_AsLong(args[1]);
    looks.size = PyLong_AsLongLong(args[2]);
    looks.mtime_ns = PyLong_AsLongLong(args[3]);
    looks.ctime_ns = PyLong_AsLongLong(args[4]);
    if (PyErr_Occurred() || !PyUnicode_FSConverter(args[0], &path))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    fd = open_and_compare(PyBytes_AS_STRING(path), (int)flags, &looks, &found);
    Py_END_ALLOW_THREADS
    Py_DECREF(path);
    if (fd < 0)
        Py_RETURN_NONE;
    result = Py_BuildValue("iLK", fd, (long long)found.st_dev, (unsigned long long)found.st_ino);
    if (result == NULL)
        close(fd);
    return result;
}

static PyMethodDef methods[] = {
    {"open_pinned", (PyCFunction)(void (*)(void))open_pinned, METH_FASTCALL, "(fd, st_dev, st_ino) of a pinned file, or None."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot module_slots[] = {
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_pinned",
    .m_doc = "Opens a file that is to stay.",
    .m_methods = methods,
    .m_slots = module_slots,
};

PyMODINIT_FUNC
PyInit__pinned(void)
{
    return PyModuleDef_Init(&module_def);
}
