/* Values of numbers and texts, made without the knowledge of the garbage collector, as numbers and texts lead nowhere.
 *
 * What os.stat itself returns is unknown to the collector; a stat_result made in Python, or a named tuple, is known to it, and
 * the hundred thousand of them that a mount keeps would be looked at again and again.
 *
 * Both functions are written in Python as well (make_stat in _vfs/attributes.py, make_rows in _namespace/leaf.py), and both
 * languages must agree on what they give.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structseq.h>

#include <sys/stat.h>

/* As in attributes.py. */
#define BLOCK_SIZE 131072L
#define NS 1000000000L

/* Fields of a stat_result: those of stat(2), the seconds as a tuple shows them, as floats, as nanoseconds, and three more. */
enum { MODE, INODE, DEVICE, LINKS, USER, GROUP, SIZE, SECONDS, FLOATS = 10, NANOSECONDS = 13, BLOCK = 16, BLOCKS, KIND, FIELDS };

typedef struct {
    PyTypeObject *type; /* os.stat_result */
    PyObject *second;   /* a second in nanoseconds */
    PyObject *zero, *one, *two, *block, *round_up, *shift;
} State;

/* Put *value* at *index*, and at so many places behind it that there are *count*. */
static void
set(PyObject *status, Py_ssize_t index, PyObject *value, int count)
{
    for (int i = 0; i < count; i++) {
        Py_INCREF(value);
        PyStructSequence_SetItem(status, index + i, value);
    }
}

/* So many blocks of 512 bytes hold *size* bytes. */
static PyObject *
blocks_of(State *state, PyObject *size)
{
    PyObject *more = PyNumber_Add(size, state->round_up), *blocks;

    if (more == NULL)
        return NULL;
    blocks = PyNumber_Rshift(more, state->shift);
    Py_DECREF(more);
    return blocks;
}

static PyObject *
filled(State *state, PyObject *const *args, int is_directory, PyObject *seconds, PyObject *floats, PyObject *blocks)
{
    PyObject *status = PyStructSequence_New(state->type);

    if (status == NULL)
        return NULL;
    set(status, MODE, args[0], 1);
    set(status, INODE, args[1], 1);
    set(status, DEVICE, args[2], 1);
    set(status, LINKS, is_directory ? state->two : state->one, 1);
    set(status, USER, PyTuple_GET_ITEM(args[3], 0), 1);
    set(status, GROUP, PyTuple_GET_ITEM(args[3], 1), 1);
    set(status, SIZE, args[4], 1);
    set(status, SECONDS, seconds, 3);
    set(status, FLOATS, floats, 3);
    set(status, NANOSECONDS, args[5], 3);
    set(status, BLOCK, state->block, 1);
    set(status, BLOCKS, blocks, 1);
    set(status, KIND, state->zero, 1);
    return status;
}

/* make_stat(mode, inode, device, (uid, gid), size, mtime_ns) */
static PyObject *
make_stat(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    State *state = PyModule_GetState(module);
    PyObject *seconds, *floats = NULL, *blocks = NULL, *status = NULL;
    long mode;

    if (nargs != 6 || !PyTuple_CheckExact(args[3]) || PyTuple_GET_SIZE(args[3]) != 2) {
        PyErr_SetString(PyExc_TypeError, "make_stat() takes a mode, an inode, a device, a pair of owners, a size and a time");
        return NULL;
    }
    mode = PyLong_AsLong(args[0]);
    if (mode == -1 && PyErr_Occurred())
        return NULL;
    seconds = PyNumber_FloorDivide(args[5], state->second);
    if (seconds != NULL)
        floats = PyNumber_TrueDivide(args[5], state->second);
    if (floats != NULL)
        blocks = blocks_of(state, args[4]);
    if (blocks != NULL)
        status = filled(state, args, S_ISDIR(mode), seconds, floats, blocks);
    Py_XDECREF(seconds);
    Py_XDECREF(floats);
    Py_XDECREF(blocks);
    return status;
}

/* Row *index* of *columns*, as a *type*. */
static PyObject *
make_row(PyTypeObject *type, PyObject *columns, Py_ssize_t index)
{
    Py_ssize_t width = PyTuple_GET_SIZE(columns);
    PyObject *row = type->tp_alloc(type, width);
    int leads_somewhere = 0;

    if (row == NULL)
        return NULL;
    for (Py_ssize_t i = 0; i < width; i++) {
        PyObject *value = PySequence_Fast_GET_ITEM(PyTuple_GET_ITEM(columns, i), index);
        leads_somewhere |= PyObject_IS_GC(value);
        Py_INCREF(value);
        PyTuple_SET_ITEM(row, i, value);
    }
    if (!leads_somewhere)
        PyObject_GC_UnTrack(row);
    return row;
}

/* make_rows(type, columns): *type* is a class of named tuples, *columns* a tuple of lists and tuples, all of one length. */
static PyObject *
make_rows(PyObject *module, PyObject *args)
{
    PyTypeObject *type;
    PyObject *columns, *rows;
    Py_ssize_t count = 0;

    if (!PyArg_ParseTuple(args, "O!O!:make_rows", &PyType_Type, &type, &PyTuple_Type, &columns))
        return NULL;
    if (!PyType_IsSubtype(type, &PyTuple_Type) || type->tp_basicsize != PyTuple_Type.tp_basicsize) {
        PyErr_SetString(PyExc_TypeError, "make_rows() takes a tuple class without a place for more");
        return NULL;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(columns); i++) {
        PyObject *column = PyTuple_GET_ITEM(columns, i);
        if (!PyList_CheckExact(column) && !PyTuple_CheckExact(column)) {
            PyErr_SetString(PyExc_TypeError, "make_rows() takes columns that are lists and tuples");
            return NULL;
        }
        if (i > 0 && PySequence_Fast_GET_SIZE(column) != count) {
            PyErr_SetString(PyExc_ValueError, "make_rows() takes columns of one length");
            return NULL;
        }
        count = PySequence_Fast_GET_SIZE(column);
    }
    rows = PyList_New(count);
    for (Py_ssize_t i = 0; rows != NULL && i < count; i++) {
        PyObject *row = make_row(type, columns, i);
        if (row == NULL)
            Py_CLEAR(rows);
        else
            PyList_SET_ITEM(rows, i, row);
    }
    return rows;
}

static PyMethodDef methods[] = {
    {"make_stat", (PyCFunction)(void (*)(void))make_stat, METH_FASTCALL, "A complete os.stat_result."},
    {"make_rows", make_rows, METH_VARARGS, "Columns as a list of rows."},
    {NULL, NULL, 0, NULL},
};

static int
module_exec(PyObject *module)
{
    State *state = PyModule_GetState(module);
    PyObject *os = PyImport_ImportModule("os"), *fields;
    long count;

    if (os == NULL)
        return -1;
    state->type = (PyTypeObject *)PyObject_GetAttrString(os, "stat_result");
    Py_DECREF(os);
    if (state->type == NULL)
        return -1;
    fields = PyObject_GetAttrString((PyObject *)state->type, "n_fields");
    if (fields == NULL)
        return -1;
    count = PyLong_AsLong(fields);
    Py_DECREF(fields);
    if (count != FIELDS) {
        PyErr_SetString(PyExc_ImportError, "os.stat_result has other fields than those that are known here");
        return -1;
    }
    state->second = PyLong_FromLong(NS);
    state->zero = PyLong_FromLong(0);
    state->one = PyLong_FromLong(1);
    state->two = PyLong_FromLong(2);
    state->block = PyLong_FromLong(BLOCK_SIZE);
    state->round_up = PyLong_FromLong(511);
    state->shift = PyLong_FromLong(9);
    return PyErr_Occurred() ? -1 : 0;
}

static int
module_traverse(PyObject *module, visitproc visit, void *arg)
{
    State *state = PyModule_GetState(module);
    Py_VISIT(state->type);
    return 0;
}

static int
module_clear(PyObject *module)
{
    State *state = PyModule_GetState(module);
    Py_CLEAR(state->type);
    Py_CLEAR(state->second);
    Py_CLEAR(state->zero);
    Py_CLEAR(state->one);
    Py_CLEAR(state->two);
    Py_CLEAR(state->block);
    Py_CLEAR(state->round_up);
    Py_CLEAR(state->shift);
    return 0;
}

static void
module_free(void *module)
{
    module_clear(module);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_untracked",
    .m_doc = "Values that the garbage collector need not look at.",
    .m_size = sizeof(State),
    .m_methods = methods,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC
PyInit__untracked(void)
{
    return PyModuleDef_Init(&module_def);
}
