/* The steps of small_claim.py and locks.py that follow each other without a question: several system calls each, and the
 * interpreter lock handed on once and not with every one of them. Threads that fetch small objects beside each other spend more
 * on handing it on than on the objects.
 *
 * Each says yes or nothing. Whatever does not go as it should leaves nothing behind, and is tried again in Python, which finds
 * out what it is and decides what follows from it.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "_record.h"

#ifndef F_OFD_SETLK
#define F_OFD_SETLK 37
#endif

#define NS 1000000000LL

/* The byte of a record file that stands for the records themselves; others hold it for microseconds. */
#define RECORDS 0
#define PATIENCE 20
static const struct timespec PAUSE = {0, 100 * 1000};

/* The CRC-32 of zlib, whose own function would hand on the interpreter lock once more; eight bytes a step. */
static uint32_t crc_of_byte[8][256];

static void
make_tables(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
        crc_of_byte[0][byte] = crc;
    }
    for (uint32_t byte = 0; byte < 256; byte++)
        for (int ahead = 1; ahead < 8; ahead++) {
            uint32_t before = crc_of_byte[ahead - 1][byte];
            crc_of_byte[ahead][byte] = before >> 8 ^ crc_of_byte[0][before & 255];
        }
}

static uint32_t
crc32_of(const unsigned char *data, size_t length)
{
    uint32_t crc = 0xffffffff;

    for (; length >= 8; data += 8, length -= 8) {
        uint32_t low = crc ^ ((uint32_t)data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 | (uint32_t)data[3] << 24);
        crc = crc_of_byte[7][low & 255] ^ crc_of_byte[6][low >> 8 & 255] ^ crc_of_byte[5][low >> 16 & 255] ^
              crc_of_byte[4][low >> 24] ^ crc_of_byte[3][data[4]] ^ crc_of_byte[2][data[5]] ^ crc_of_byte[1][data[6]] ^
              crc_of_byte[0][data[7]];
    }
    for (; length; data++, length--)
        crc = crc >> 8 ^ crc_of_byte[0][(crc ^ *data) & 255];
    return ~crc;
}

static int
set_lock(int fd, short kind, long long start, long long length)
{
    struct flock lock = {.l_type = kind, .l_whence = SEEK_SET, .l_start = start, .l_len = length};

    return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

static int
write_all(int fd, const char *data, size_t length, off_t offset)
{
    while (length) {
        ssize_t written = pwrite(fd, data, length, offset);
        if (written <= 0)
            return 0;
        data += written;
        offset += written;
        length -= (size_t)written;
    }
    return 1;
}

/* open_locked(path, start): a descriptor of the file, made where it is missing, with the lock of one byte; or None. */
static PyObject *
open_locked(PyObject *module, PyObject *args)
{
    PyObject *path;
    long long start;
    int fd;

    if (!PyArg_ParseTuple(args, "O&L:open_locked", PyUnicode_FSConverter, &path, &start))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    fd = open(PyBytes_AS_STRING(path), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0 && !set_lock(fd, F_WRLCK, start, 1)) {
        close(fd);
        fd = -1;
    }
    Py_END_ALLOW_THREADS
    Py_DECREF(path);
    if (fd < 0)
        Py_RETURN_NONE;
    return PyLong_FromLong(fd);
}

/* unlock_and_close(fd) */
static PyObject *
unlock_and_close(PyObject *module, PyObject *number)
{
    long fd = PyLong_AsLong(number);

    if (fd == -1 && PyErr_Occurred())
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    /* Explicitly, not only by closing: a child forked meanwhile may hold a duplicate that would keep the lock. */
    set_lock((int)fd, F_UNLCK, 0, 0);
    close((int)fd);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

/* A new file with the content, and how it looks then. */
static int
make_file(const char *path, const char *content, size_t length, struct stat *made)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0400), done;

    if (fd < 0)
        return 0;
    done = write_all(fd, content, length, 0) && fstat(fd, made) == 0;
    close(fd);
    if (!done)
        unlink(path);
    return done;
}

/* append() of records.py. */
static int
append_record(int fd, Record *record, struct stat *records, off_t *end)
{
    int tries = PATIENCE;

    while (!set_lock(fd, F_WRLCK, RECORDS, 1)) {
        if (!--tries)
            return 0;
        nanosleep(&PAUSE, NULL);
    }
    if (fstat(fd, records) != 0)
        return 0;
    *end = records->st_size - records->st_size % (off_t)sizeof(Record);
    record->own = crc32_of((const unsigned char *)record, offsetof(Record, own));
    return write_all(fd, (const char *)record, sizeof(Record), *end);
}

/* keep(held, path, content, digest, boot) */
static PyObject *
keep(PyObject *module, PyObject *args)
{
    PyObject *path;
    Py_buffer content;
    const char *digest, *boot;
    Py_ssize_t digest_size, boot_size;
    struct stat made, records;
    Record record = {.size = 0};
    off_t end = 0;
    int held, done = 0;

    if (!PyArg_ParseTuple(args, "iO&y*y#y#:keep", &held, PyUnicode_FSConverter, &path, &content, &digest, &digest_size, &boot,
                          &boot_size))
        return NULL;
    if (digest_size == DIGEST_SIZE && boot_size == BOOT_SIZE) {
        memcpy(record.digest, digest, DIGEST_SIZE);
        memcpy(record.boot, boot, BOOT_SIZE);
        Py_BEGIN_ALLOW_THREADS
        if (make_file(PyBytes_AS_STRING(path), content.buf, (size_t)content.len, &made)) {
            record.size = made.st_size;
            record.mtime_ns = made.st_mtim.tv_sec * NS + made.st_mtim.tv_nsec;
            record.ctime_ns = made.st_ctim.tv_sec * NS + made.st_ctim.tv_nsec;
            record.checksum = crc32_of(content.buf, (size_t)content.len);
            done = append_record(held, &record, &records, &end);
            if (!done)
                unlink(PyBytes_AS_STRING(path));
        }
        Py_END_ALLOW_THREADS
    }
    Py_DECREF(path);
    PyBuffer_Release(&content);
    if (!done)
        Py_RETURN_NONE;
    return Py_BuildValue("(LLLI)y#KL", (long long)record.size, (long long)record.mtime_ns, (long long)record.ctime_ns,
                         (unsigned int)record.checksum, (const char *)&record, (Py_ssize_t)sizeof(Record),
                         (unsigned long long)records.st_ino, (long long)end);
}

static PyMethodDef methods[] = {
    {"open_locked", open_locked, METH_VARARGS, "A descriptor with the lock of one byte, or None."},
    {"unlock_and_close", unlock_and_close, METH_O, "Give back all locks of a descriptor, and close it."},
    {"keep", keep, METH_VARARGS, "Make a data file and its record: ((size, mtime, ctime, checksum), record, inode, end) or None."},
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
    .m_name = "_small",
    .m_doc = "Makes the file of a small object.",
    .m_methods = methods,
    .m_slots = module_slots,
};

PyMODINIT_FUNC
PyInit__small(void)
{
    make_tables();
    return PyModuleDef_Init(&module_def);
}
