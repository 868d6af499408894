/* Statuses as statuses.py has it, for the files that anybody may read: a path's attributes are found, or made, in one step.
 *
 * A walk that asks for each file once spends most of its time here. What is not such a file (a directory, an archived object)
 * is left to the maker written in Python, and both languages must agree on the rest.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <string.h>

/* As in nodes.py: name, size, mtime_ns, etag, storage_class, version_id. */
enum { SIZE = 1, MTIME_NS = 2, STORAGE_CLASS = 4, FIELDS = 6 };

/* As in attributes.py: the bytes of a digest that is made an inode number. */
#define DIGEST_SIZE 8

typedef struct {
    PyObject_HEAD
    PyObject *kept;      /* dict: path as spelled -> stat_result */
    PyObject *lookup;    /* path below the mount -> node */
    PyObject *make;      /* path below the mount, node -> stat_result */
    PyObject *make_stat; /* mode, inode, device, owner, size, mtime_ns -> stat_result */
    PyObject *begin;     /* -> what all inode numbers of the mount begin with, a hash to be updated */
    PyObject *file_type; /* of the nodes that are files */
    PyObject *file_mode, *device, *owner;
    PyObject *update, *digest; /* interned */
    Py_ssize_t most;
} Statuses;

/* inode_number() of attributes.py, of the key that ends in *path*. */
static PyObject *
inode_number(Statuses *self, PyObject *path)
{
    PyObject *raw = PyUnicode_AsEncodedString(path, "utf-8", "surrogateescape");
    PyObject *hash = NULL, *done = NULL, *digest = NULL, *inode = NULL;

    if (raw != NULL)
        hash = PyObject_CallNoArgs(self->begin);
    if (hash != NULL)
        done = PyObject_CallMethodOneArg(hash, self->update, raw);
    if (done != NULL)
        digest = PyObject_CallMethodNoArgs(hash, self->digest);
    if (digest != NULL && PyBytes_CheckExact(digest) && PyBytes_GET_SIZE(digest) == DIGEST_SIZE) {
        const unsigned char *bytes = (const unsigned char *)PyBytes_AS_STRING(digest);
        unsigned long long number = 0;
        for (int i = DIGEST_SIZE; i > 0; i--)
            number = number << 8 | bytes[i - 1];
        number >>= 1;
        inode = PyLong_FromUnsignedLongLong(number == 0 ? 1 : number);
    }
    else if (digest != NULL)
        PyErr_SetString(PyExc_TypeError, "the hash of a path must have eight bytes");
    Py_XDECREF(raw);
    Py_XDECREF(hash);
    Py_XDECREF(done);
    Py_XDECREF(digest);
    return inode;
}

/* Whether *node* is a file that is not archived: those alone have a storage class that is not empty. */
static int
is_readable_file(Statuses *self, PyObject *node)
{
    PyObject *storage_class;

    if ((PyObject *)Py_TYPE(node) != self->file_type || PyTuple_GET_SIZE(node) != FIELDS)
        return 0;
    storage_class = PyTuple_GET_ITEM(node, STORAGE_CLASS);
    return PyUnicode_CheckExact(storage_class) && PyUnicode_GET_LENGTH(storage_class) == 0;
}

static PyObject *
made(Statuses *self, PyObject *path, PyObject *node)
{
    PyObject *args[6], *result;

    if (!is_readable_file(self, node))
        return PyObject_CallFunctionObjArgs(self->make, path, node, NULL);
    args[0] = self->file_mode;
    args[1] = inode_number(self, path);
    if (args[1] == NULL)
        return NULL;
    args[2] = self->device;
    args[3] = self->owner;
    args[4] = PyTuple_GET_ITEM(node, SIZE);
    args[5] = PyTuple_GET_ITEM(node, MTIME_NS);
    result = PyObject_Vectorcall(self->make_stat, args, 6, NULL);
    Py_DECREF(args[1]);
    return result;
}

/* find(path, start): the rest of *path* from *start* is below the mount. */
static PyObject *
find(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    Statuses *self = (Statuses *)op;
    PyObject *rest, *node, *status;
    Py_ssize_t start;

    if (nargs != 2 || !PyUnicode_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "find() takes a path and where in it the part below the mount begins");
        return NULL;
    }
    status = PyDict_GetItemWithError(self->kept, args[0]);
    if (status != NULL)
        return Py_NewRef(status);
    start = PyErr_Occurred() ? -1 : PyLong_AsSsize_t(args[1]);
    if (start < 0) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "a path has no part before its beginning");
        return NULL;
    }
    rest = PyUnicode_Substring(args[0], start, PY_SSIZE_T_MAX);
    if (rest == NULL)
        return NULL;
    node = PyObject_CallOneArg(self->lookup, rest);
    if (node == NULL || node == Py_None) {
        Py_DECREF(rest);
        return node;
    }
    status = made(self, rest, node);
    Py_DECREF(rest);
    Py_DECREF(node);
    if (status == NULL)
        return NULL;
    if (PyDict_GET_SIZE(self->kept) >= self->most)
        PyDict_Clear(self->kept);
    if (PyDict_SetItem(self->kept, args[0], status) < 0)
        Py_CLEAR(status);
    return status;
}

/* Statuses(lookup, make, make_stat, begin, file_type, file_mode, device, owner, most) */
static PyObject *
statuses_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *lookup, *make, *make_stat, *begin, *file_type, *file_mode, *device, *owner;
    Py_ssize_t most;
    Statuses *self;

    if (kwargs != NULL && PyDict_GET_SIZE(kwargs) > 0) {
        PyErr_SetString(PyExc_TypeError, "Statuses() takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "OOOOO!O!O!O!n:Statuses", &lookup, &make, &make_stat, &begin, &PyType_Type, &file_type,
                          &PyLong_Type, &file_mode, &PyLong_Type, &device, &PyTuple_Type, &owner, &most))
        return NULL;
    if (!PyType_IsSubtype((PyTypeObject *)file_type, &PyTuple_Type)) {
        PyErr_SetString(PyExc_TypeError, "Statuses() takes a class of tuples for files");
        return NULL;
    }
    self = (Statuses *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->lookup = Py_NewRef(lookup);
    self->make = Py_NewRef(make);
    self->make_stat = Py_NewRef(make_stat);
    self->begin = Py_NewRef(begin);
    self->file_type = Py_NewRef(file_type);
    self->file_mode = Py_NewRef(file_mode);
    self->device = Py_NewRef(device);
    self->owner = Py_NewRef(owner);
    self->most = most;
    if ((self->kept = PyDict_New()) == NULL || (self->update = PyUnicode_InternFromString("update")) == NULL ||
        (self->digest = PyUnicode_InternFromString("digest")) == NULL)
        Py_CLEAR(self);
    return (PyObject *)self;
}

static int
statuses_traverse(PyObject *op, visitproc visit, void *arg)
{
    Statuses *self = (Statuses *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->kept);
    Py_VISIT(self->lookup);
    Py_VISIT(self->make);
    Py_VISIT(self->make_stat);
    Py_VISIT(self->begin);
    Py_VISIT(self->file_type);
    Py_VISIT(self->owner);
    return 0;
}

/* The collector needs no more than these to take a circle apart; the others stay, so that a late call finds them. */
static int
statuses_clear(PyObject *op)
{
    Statuses *self = (Statuses *)op;
    PyObject *none = Py_None;
    Py_XSETREF(self->lookup, Py_NewRef(none));
    Py_XSETREF(self->make, Py_NewRef(none));
    return 0;
}

static void
statuses_dealloc(PyObject *op)
{
    Statuses *self = (Statuses *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    Py_CLEAR(self->kept);
    Py_CLEAR(self->lookup);
    Py_CLEAR(self->make);
    Py_CLEAR(self->make_stat);
    Py_CLEAR(self->begin);
    Py_CLEAR(self->file_type);
    Py_CLEAR(self->file_mode);
    Py_CLEAR(self->device);
    Py_CLEAR(self->owner);
    Py_CLEAR(self->update);
    Py_CLEAR(self->digest);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyMethodDef statuses_methods[] = {
    {"find", (PyCFunction)(void (*)(void))find, METH_FASTCALL, "The attributes of a path; None: nothing is there."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot statuses_slots[] = {
    {Py_tp_new, statuses_new},
    {Py_tp_traverse, statuses_traverse},
    {Py_tp_clear, statuses_clear},
    {Py_tp_dealloc, statuses_dealloc},
    {Py_tp_methods, statuses_methods},
    {0, NULL},
};

static PyType_Spec statuses_spec = {
    .name = "vfsoverlay._vfs._statuses.Statuses",
    .basicsize = sizeof(Statuses),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = statuses_slots,
};

static int
module_exec(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &statuses_spec, NULL);
    int result = type == NULL ? -1 : PyModule_AddType(module, (PyTypeObject *)type);

    Py_XDECREF(type);
    return result;
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
    .m_name = "_statuses",
    .m_doc = "Attributes by path.",
    .m_slots = module_slots,
};

PyMODINIT_FUNC
PyInit__statuses(void)
{
    return PyModuleDef_Init(&module_def);
}
