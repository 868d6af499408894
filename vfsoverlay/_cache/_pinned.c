/* The warm path of complete_files.py in one step: the record of a file where it is not known yet, and its opening; a few
 * system calls, and the comparison between them and their caller.
 *
 * It says yes or nothing. Whatever does not go as it should is tried again in Python, which finds out what it is and decides
 * what follows from it; so no rule is written twice but the order of the calls, and the form of a record.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "_record.h"

/* As in locks.py. */
#define PIN_BYTE (1LL << 60)
#ifndef F_OFD_SETLK
#define F_OFD_SETLK 37
#endif

#define NS 1000000000LL

/* Records that are looked through for one of them: Python, which keeps what it has read, does better with more. */
#define MOST_RECORDS 400

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

/* The CRC-32 of zlib, four bits at a time: a table for more would be in no cache of the processor when it is needed. */
static uint32_t
crc32_of(const unsigned char *data, size_t length)
{
    static const uint32_t of_nibble[16] = {
        0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
        0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
    };
    uint32_t crc = 0xffffffff;

    for (size_t i = 0; i < length; i++) {
        crc ^= data[i];
        crc = crc >> 4 ^ of_nibble[crc & 15];
        crc = crc >> 4 ^ of_nibble[crc & 15];
    }
    return ~crc;
}

/* find() of records.py: how the newest sound record of *digest* in the file *path* says that the data looks, if it is of this
 * boot. */
static int
look_up(const char *path, const unsigned char *digest, const unsigned char *boot, Looks *looks)
{
    Record records[MOST_RECORDS + 1];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t length, index;

    if (fd < 0)
        return 0;
    length = read(fd, records, sizeof(records));
    close(fd);
    if (length < 0 || length == sizeof(records))
        return 0;
    for (index = length / (ssize_t)sizeof(Record) - 1; index >= 0; index--) {
        const Record *record = &records[index];
        if (memcmp(record->digest, digest, DIGEST_SIZE) == 0 &&
            record->own == crc32_of((const unsigned char *)record, offsetof(Record, own))) {
            *looks = (Looks){record->size, record->mtime_ns, record->ctime_ns};
            return memcmp(record->boot, boot, BOOT_SIZE) == 0;
        }
    }
    return 0;
}

/* open_recorded(records, digest, boot, path, flags) */
static PyObject *
open_recorded(PyObject *module, PyObject *args)
{
    PyObject *records, *path, *result;
    const char *digest, *boot;
    Py_ssize_t digest_size, boot_size;
    struct stat found;
    Looks looks;
    int flags, fd = -1;

    if (!PyArg_ParseTuple(args, "O&y#y#O&i:open_recorded", PyUnicode_FSConverter, &records, &digest, &digest_size, &boot,
                          &boot_size, PyUnicode_FSConverter, &path, &flags))
        return NULL;
    if (digest_size == DIGEST_SIZE && boot_size == BOOT_SIZE) {
        Py_BEGIN_ALLOW_THREADS
        if (look_up(PyBytes_AS_STRING(records), (const unsigned char *)digest, (const unsigned char *)boot, &looks))
            fd = open_and_compare(PyBytes_AS_STRING(path), flags, &looks, &found);
        Py_END_ALLOW_THREADS
    }
    Py_DECREF(records);
    Py_DECREF(path);
    if (fd < 0)
        Py_RETURN_NONE;
    result = Py_BuildValue("iLKLLL", fd, (long long)found.st_dev, (unsigned long long)found.st_ino, looks.size, looks.mtime_ns,
                           looks.ctime_ns);
    if (result == NULL)
        close(fd);
    return result;
}

static PyMethodDef methods[] = {
    {"open_pinned", (PyCFunction)(void (*)(void))open_pinned, METH_FASTCALL, "(fd, st_dev, st_ino) of a pinned file, or None."},
    {"open_recorded", open_recorded, METH_VARARGS, "As open_pinned(), with what the record says of size and times."},
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
