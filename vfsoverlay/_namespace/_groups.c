/* The rows of a listing by directory, and where they are plain, packed into leaves.
 *
 * Plain is a group whose names ascend and are all valid (names.py), with numbers that fit into 64 bits and texts that a leaf can
 * hold. None stands for the leaves of any other, and Python decides what becomes of it (snapshot_writer.py). What a leaf
 * consists of is told in leaf.py, and both languages must agree on every byte.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <limits.h>
#include <string.h>

/* As leaf.SIZE. */
#define LEAF 128
/* Columns of texts: ETags, storage classes, version ids. */
#define TEXTS 3
#define HEADER (4 * (2 + 2 * TEXTS))
/* Of a row: the key, the size and the time, then the texts. */
#define FIELDS (3 + TEXTS)

typedef struct {
    const char *at;
    Py_ssize_t size;
} Text;

typedef struct {
    Text name, texts[TEXTS];
    long long size, mtime_ns;
} File;

/* The rows of one directory; files are the last of them, which are not in *leaves* yet. */
typedef struct {
    Text directory, before;
    PyObject *leaves; /* NULL: the rows are not plain */
    File files[LEAF];
    int count, is_ascii[TEXTS];
} Group;

/* 0, without an exception: *value* is no text that is UTF-8. The text lives as long as *value*. */
static int
read_text(PyObject *value, Text *text)
{
    if (!PyUnicode_CheckExact(value))
        return 0;
    text->at = PyUnicode_AsUTF8AndSize(value, &text->size);
    if (text->at == NULL)
        PyErr_Clear();
    return text->at != NULL;
}

static int
read_number(PyObject *value, long long *number)
{
    int overflow = 0;

    if (!PyLong_CheckExact(value))
        return 0;
    *number = PyLong_AsLongLongAndOverflow(value, &overflow);
    return !overflow;
}

static int
is_valid(Text name)
{
    if (name.size == 0 || memchr(name.at, 0, name.size) != NULL)
        return 0;
    return !(name.at[0] == '.' && (name.size == 1 || (name.size == 2 && name.at[1] == '.')));
}

/* Whether *one* is before *other*: the order of bytes is that of characters. */
static int
ascends(Text one, Text other)
{
    int order = memcmp(one.at, other.at, one.size < other.size ? one.size : other.size);
    return order < 0 || (order == 0 && one.size < other.size);
}

/* --- leaves */

typedef struct {
    Py_ssize_t length;
    Py_ssize_t width; /* 0: not all have one */
} Column;

static Column
column_of(const Group *group, int which)
{
    const File *files = group->files;
    Column column = {group->count - 1, group->is_ascii[which] ? files[0].texts[which].size : 0};

    for (int i = 0; i < group->count; i++) {
        column.length += files[i].texts[which].size;
        if (files[i].texts[which].size != column.width)
            column.width = 0;
    }
    if (column.length == group->count - 1)
        column.length = 0; /* all are empty */
    return column;
}

static char *
put_number(char *at, unsigned long long number, int bytes)
{
    for (int i = 0; i < bytes; i++)
        *at++ = (char)(number >> (8 * i));
    return at;
}

static char *
put_text(char *at, Text text)
{
    memcpy(at, text.at, text.size);
    return at + text.size;
}

static void
fill(char *at, const Group *group, Py_ssize_t names, const Column *columns)
{
    const File *files = group->files;

    at = put_number(at, group->count, 4);
    at = put_number(at, names, 4);
    for (int which = 0; which < TEXTS; which++) {
        at = put_number(at, columns[which].length, 4);
        at = put_number(at, columns[which].width, 4);
    }
    for (int i = 0; i < group->count; i++)
        at = put_number(at, files[i].size, 8);
    for (int i = 0; i < group->count; i++)
        at = put_number(at, files[i].mtime_ns, 8);
    *at++ = '/';
    for (int i = 0; i < group->count; i++) {
        at = put_text(at, files[i].name);
        *at++ = '/';
    }
    for (int which = 0; which < TEXTS; which++) {
        for (int i = 0; columns[which].length > 0 && i < group->count; i++) {
            if (i > 0)
                *at++ = 0;
            at = put_text(at, files[i].texts[which]);
        }
    }
}

/* The files as the bytes of a leaf; NULL without an exception: they are too long. */
static PyObject *
pack(const Group *group)
{
    Column columns[TEXTS];
    Py_ssize_t names = 1 + group->count, size = HEADER + 16 * (Py_ssize_t)group->count;
    PyObject *data;

    for (int i = 0; i < group->count; i++)
        names += group->files[i].name.size;
    size += names;
    for (int which = 0; which < TEXTS; which++) {
        columns[which] = column_of(group, which);
        size += columns[which].length;
    }
    if (size > INT_MAX)
        return NULL;
    data = PyBytes_FromStringAndSize(NULL, size);
    if (data != NULL)
        fill(PyBytes_AS_STRING(data), group, names, columns);
    return data;
}

/* ((first, last, files, size, largest, mtime_ns), data) of the files; NULL without an exception: there are too many bytes. */
static PyObject *
make_leaf(const Group *group)
{
    const File *files = group->files;
    Text first = files[0].name, last = files[group->count - 1].name;
    long long size = 0, largest = files[0].size, mtime_ns = files[0].mtime_ns;
    PyObject *data;

    for (int i = 0; i < group->count; i++) {
        if (__builtin_add_overflow(size, files[i].size, &size))
            return NULL;
        if (files[i].size > largest)
            largest = files[i].size;
        if (files[i].mtime_ns > mtime_ns)
            mtime_ns = files[i].mtime_ns;
    }
    data = pack(group);
    if (data == NULL)
        return NULL;
    return Py_BuildValue("(s#s#iLLL)N", first.at, first.size, last.at, last.size, group->count, size, largest, mtime_ns, data);
}

/* --- groups */

/* Leave the group to Python; -1 with an exception. */
static int
give_up(Group *group)
{
    if (PyErr_Occurred())
        return -1;
    Py_CLEAR(group->leaves);
    return 0;
}

static int
end_leaf(Group *group)
{
    PyObject *leaf = make_leaf(group);
    int failed;

    group->count = 0;
    if (leaf == NULL)
        return give_up(group);
    failed = PyList_Append(group->leaves, leaf);
    Py_DECREF(leaf);
    return failed;
}

static int
begin(Group *group, Text directory)
{
    group->directory = directory;
    group->before = (Text){"", 0};
    group->count = 0;
    group->leaves = PyList_New(0);
    return group->leaves == NULL ? -1 : 0;
}

static int
end(Group *group, Py_ssize_t stop, PyObject *groups)
{
    PyObject *told;
    int failed;

    if (group->leaves != NULL && group->count > 0 && end_leaf(group) < 0)
        return -1;
    told = Py_BuildValue("ns#O", stop, group->directory.at, group->directory.size, group->leaves ? group->leaves : Py_None);
    Py_CLEAR(group->leaves);
    if (told == NULL)
        return -1;
    failed = PyList_Append(groups, told);
    Py_DECREF(told);
    return failed;
}

/* Whether *row*, whose name it is, is plain and can be the next one. */
static int
read_file(Group *group, PyObject *row, Text name)
{
    File *file = &group->files[group->count];

    if (PyTuple_GET_SIZE(row) != FIELDS || !is_valid(name) || !ascends(group->before, name))
        return 0;
    file->name = name;
    if (!read_number(PyTuple_GET_ITEM(row, 1), &file->size) || !read_number(PyTuple_GET_ITEM(row, 2), &file->mtime_ns))
        return 0;
    for (int which = 0; which < TEXTS; which++) {
        PyObject *value = PyTuple_GET_ITEM(row, 3 + which);
        Text *text = &file->texts[which];
        if (!read_text(value, text) || memchr(text->at, 0, text->size) != NULL)
            return 0;
        if (group->count == 0)
            group->is_ascii[which] = 1;
        group->is_ascii[which] &= PyUnicode_IS_ASCII(value);
    }
    return 1;
}

static int
add(Group *group, PyObject *row, Text name)
{
    if (group->leaves == NULL)
        return 0;
    if (!read_file(group, row, name))
        return give_up(group);
    group->before = name;
    group->count++;
    return group->count == LEAF ? end_leaf(group) : 0;
}

/* Fill *groups*; 0: there are rows that have no key which is UTF-8, -1: an exception. */
static int
read_groups(PyObject *rows, Group *group, PyObject *groups)
{
    Py_ssize_t count = PyTuple_GET_SIZE(rows);

    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *row = PyTuple_GET_ITEM(rows, i);
        Text key, name;
        const char *slash;
        Py_ssize_t above;
        if (!PyTuple_Check(row) || PyTuple_GET_SIZE(row) == 0 || !read_text(PyTuple_GET_ITEM(row, 0), &key))
            return 0;
        slash = memrchr(key.at, '/', key.size);
        above = slash == NULL ? 0 : slash + 1 - key.at;
        name = (Text){key.at + above, key.size - above};
        if (i == 0 || above != group->directory.size || memcmp(key.at, group->directory.at, above) != 0) {
            if ((i > 0 && end(group, i, groups) < 0) || begin(group, (Text){key.at, above}) < 0)
                return -1;
        }
        if (add(group, row, name) < 0)
            return -1;
    }
    return count > 0 && end(group, count, groups) < 0 ? -1 : 1;
}

/* group_rows(rows) */
static PyObject *
group_rows(PyObject *module, PyObject *given)
{
    /* A tuple of tuples: nobody changes it meanwhile. */
    PyObject *rows = PySequence_Tuple(given), *groups = NULL;
    Group *group = rows == NULL ? NULL : PyMem_Calloc(1, sizeof(Group));
    int done = -1;

    if (rows != NULL && group == NULL)
        PyErr_NoMemory();
    if (group != NULL)
        groups = PyList_New(0);
    if (groups != NULL) {
        done = read_groups(rows, group, groups);
        Py_XDECREF(group->leaves);
    }
    PyMem_Free(group);
    Py_XDECREF(rows);
    if (done == 1)
        return groups;
    Py_XDECREF(groups);
    return done < 0 ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef methods[] = {
    {"group_rows", group_rows, METH_O, "Where each group ends, its directory, and its leaves or None."},
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
    .m_name = "_groups",
    .m_doc = "Packs a page of a listing.",
    .m_methods = methods,
    .m_slots = module_slots,
};

PyMODINIT_FUNC
PyInit__groups(void)
{
    return PyModuleDef_Init(&module_def);
}
