/* Dispatchers: callables that call what a name held before, at once, where a look at the arguments shows that no mount is
 * meant, and hand every other call to the handler written in Python.
 *
 * The rules are those of quick.py, and both languages must agree on them: the handlers make the same test where this file
 * was not compiled. All that is decided here is "surely foreign"; whatever is doubtful goes to the handler.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

/* As in quick.py. */
enum { PATH = 1, EDGES = 2, MODE = 4, FLAGS = 8, FALSE_ = 16, DESCRIPTOR = 32, BARE = 64 };

/* More arguments than any of the calls takes: a call with more goes to the handler, which complains. */
#define MOST_ARGUMENTS 16

typedef struct {
    PyTypeObject *type;
    PyObject *needle;       /* str: what no foreign path contains; empty: no path is foreign at a look */
    PyObject *needle_bytes; /* the same as bytes */
    PyObject *edges;        /* tuple of str: how a directory above a mount point may end */
    PyObject *names;        /* tuple of str: the components of mount points */
    PyObject *descriptors;  /* dict: descriptors of ours are its keys */
    PyObject *reading;      /* set of str: modes of open that never create a file */
    PyObject *dir_fd, *opener, *mode, *fspath; /* interned */
} State;

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    State *state; /* of the module, which the type keeps alive */
    PyObject *real;
    PyObject *home;
    PyObject *handler;   /* called where no quick test decides */
    PyObject *after_all; /* called where the real call found nothing; None for calls without a path */
    int rule;
    PyObject *weakrefs;
} Dispatcher;

/* Whether one of the *texts*, a tuple, is in *path*; or at its end. 1, 0, or -1 with an exception. */
static int
holds_any(PyObject *path, PyObject *texts, int at_end)
{
    for (Py_ssize_t i = 0; texts != NULL && i < PyTuple_GET_SIZE(texts); i++) {
        PyObject *text = PyTuple_GET_ITEM(texts, i);
        int found = at_end ? (int)PyUnicode_Tailmatch(path, text, 0, PY_SSIZE_T_MAX, 1) : PyUnicode_Contains(path, text);
        if (found != 0)
            return found;
    }
    return 0;
}

static int
is_name(PyObject *name, PyObject *interned)
{
    return name == interned || PyUnicode_Compare(name, interned) == 0;
}

/* Whether the keywords leave it to the first argument what is meant; *mode* is set to the argument of that name. */
static int
plain_keywords(State *state, PyObject *const *values, PyObject *kwnames, PyObject **mode)
{
    for (Py_ssize_t i = 0; kwnames != NULL && i < PyTuple_GET_SIZE(kwnames); i++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, i);
        if (is_name(name, state->dir_fd) || is_name(name, state->opener))
            return 0;
        if (is_name(name, state->mode))
            *mode = values[i];
    }
    return 1;
}

/* Whether flags of os.open can create no file. */
static int
creates_nothing(PyObject *flags)
{
    int overflow;
    long value = PyLong_AsLongAndOverflow(flags, &overflow);
    return !overflow && !(value & O_CREAT);
}

/* Whether a look at the arguments shows that no mount is meant: 1, 0, or -1 with an exception. */
static int
is_foreign(Dispatcher *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    State *state = self->state;
    int rule = self->rule;
    PyObject *mode = nargs > 1 ? args[1] : NULL;
    int found;

    if (state->needle == NULL)
        return 0;
    if (nargs == 0)
        return (rule & BARE) && kwnames == NULL && PyUnicode_GET_LENGTH(state->needle) > 0;
    if (PyLong_CheckExact(args[0])) {
        if (!(rule & (PATH | DESCRIPTOR)) || (rule & EDGES)) /* of any directory, which may be above a mount point */
            return 0;
        found = PyDict_Contains(state->descriptors, args[0]);
    }
    else if (!(rule & PATH))
        return 0;
    else if (PyUnicode_CheckExact(args[0])) {
        found = PyUnicode_Contains(args[0], state->needle);
        if (found == 0 && (rule & EDGES))
            found = holds_any(args[0], state->edges, 1);
    }
    else if (PyBytes_CheckExact(args[0]) && !(rule & EDGES))
        found = PySequence_Contains(args[0], state->needle_bytes);
    else
        return 0;
    if (found != 0)
        return found < 0 ? -1 : 0;
    if (kwnames != NULL && !plain_keywords(state, args + nargs, kwnames, &mode))
        return 0;
    if (rule & MODE) {
        if (nargs > 7) /* an opener */
            return 0;
        if (mode != NULL)
            return PyUnicode_CheckExact(mode) ? PySet_Contains(state->reading, mode) : 0;
    }
    if (rule & FLAGS)
        return nargs > 1 && PyLong_CheckExact(args[1]) && creates_nothing(args[1]);
    return 1;
}

/* Whether *path* is no link, and the directory it should be in is there; system calls that every program makes. */
static int
is_missing_on_disk(const char *path, size_t length)
{
    char head[PATH_MAX], target[1];
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    int result;

    if (length >= sizeof(head) || *name == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return 0;
    if (slash == NULL)
        strcpy(head, ".");
    else {
        memcpy(head, path, name - path);
        head[name - path] = '\0';
    }
    Py_BEGIN_ALLOW_THREADS
    result = readlink(path, target, sizeof(target)) < 0 && errno == ENOENT && access(head, F_OK) == 0;
    Py_END_ALLOW_THREADS
    return result;
}

/* Whether the kernel's word that *path* is missing can be taken: as FileSystem.plainly_missing. No exception is set. */
static int
is_plainly_missing(State *state, PyObject *path)
{
    PyObject *text, *raw = NULL;
    int result = 0;

    if (PyBytes_CheckExact(path))
        text = PyUnicode_DecodeFSDefaultAndSize(PyBytes_AS_STRING(path), PyBytes_GET_SIZE(path));
    else {
        text = path;
        Py_INCREF(text);
    }
    /* The needle again: it is empty now if the mounts changed meanwhile so that it does not decide alone. */
    if (text != NULL && state->needle != NULL && PyUnicode_Contains(text, state->needle) == 0 &&
        holds_any(text, state->names, 0) == 0) {
        raw = PyUnicode_EncodeFSDefault(text);
        if (raw != NULL)
            result = is_missing_on_disk(PyBytes_AS_STRING(raw), PyBytes_GET_SIZE(raw));
    }
    if (PyErr_Occurred())
        PyErr_Clear();
    Py_XDECREF(raw);
    Py_XDECREF(text);
    return result;
}

/* Whether a TypeError was raised, and by no Python code: the arguments did not fit a function. */
static int
did_not_fit(void)
{
    PyObject *type, *value, *trace;
    int found;

    if (!PyErr_ExceptionMatches(PyExc_TypeError))
        return 0;
    PyErr_Fetch(&type, &value, &trace);
    found = trace == NULL;
    PyErr_Restore(type, value, trace);
    return found;
}

static PyObject *
call_handler(Dispatcher *self, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    PyObject *result;

    if (self->handler == NULL) /* the garbage collector was here */
        return PyObject_Vectorcall(self->real, args, nargsf, kwnames);
    if (Py_EnterRecursiveCall(" while calling a replaced function"))
        return NULL;
    result = PyObject_Vectorcall(self->handler, args, nargsf, kwnames);
    Py_LeaveRecursiveCall();
    if (result == NULL && did_not_fit()) { /* the handler did nothing; the real call has its own words for what is wrong */
        PyErr_Clear();
        result = PyObject_Vectorcall(self->real, args, nargsf, kwnames);
    }
    return result;
}

/* After the real call found nothing: a link may have led to a mount. Without an exception, *found* is what it returned. */
static PyObject *
call_after_all(Dispatcher *self, PyObject *const *args, size_t nargsf, PyObject *kwnames, PyObject *found)
{
    PyObject *type, *value, *trace, *result;

    PyErr_Fetch(&type, &value, &trace);
    if (!is_plainly_missing(self->state, args[0])) {
        result = PyObject_Vectorcall(self->after_all, args, nargsf, kwnames);
        if (result != Py_NotImplemented) {
            Py_XDECREF(type);
            Py_XDECREF(value);
            Py_XDECREF(trace);
            Py_XDECREF(found);
            return result;
        }
        Py_DECREF(result);
    }
    PyErr_Restore(type, value, trace);
    return found;
}

static PyObject *
call_with_text(Dispatcher *self, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    int foreign = is_foreign(self, args, PyVectorcall_NARGS(nargsf), kwnames);
    PyObject *result;

    if (foreign < 0)
        return NULL;
    if (!foreign)
        return call_handler(self, args, nargsf, kwnames);
    result = PyObject_Vectorcall(self->real, args, nargsf, kwnames);
    if ((self->rule & PATH) && self->after_all != NULL &&
        (result == NULL ? PyErr_ExceptionMatches(PyExc_FileNotFoundError) : result == Py_False && (self->rule & FALSE_)))
        return call_after_all(self, args, nargsf, kwnames, result);
    return result;
}

/* A call whose path is an object of its own: asked for its text once, as the real call would. */
static PyObject *
call_with_object(Dispatcher *self, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    Py_ssize_t count = PyVectorcall_NARGS(nargsf) + (kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames));
    PyObject *copy[MOST_ARGUMENTS + 1];
    PyObject *convert, *text, *result;

    if (args[0] == Py_None || PyUnicode_Check(args[0]) || PyBytes_Check(args[0]) || PyLong_Check(args[0]) ||
        count > MOST_ARGUMENTS)
        return call_handler(self, args, nargsf, kwnames);
    convert = PyObject_GetAttr((PyObject *)Py_TYPE(args[0]), self->state->fspath);
    if (convert == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError))
            return NULL;
        PyErr_Clear();
        return call_handler(self, args, nargsf, kwnames);
    }
    if (convert == Py_None) { /* a class that says it has none: the real call has its own words for that */
        Py_DECREF(convert);
        return call_handler(self, args, nargsf, kwnames);
    }
    text = PyObject_CallFunctionObjArgs(convert, args[0], NULL);
    Py_DECREF(convert);
    if (text == NULL)
        return NULL;
    if (!PyUnicode_Check(text) && !PyBytes_Check(text)) { /* nonsense: the real call complains about the object */
        Py_DECREF(text);
        return call_handler(self, args, nargsf, kwnames);
    }
    memcpy(copy + 1, args, count * sizeof(PyObject *));
    copy[1] = text;
    nargsf = PyVectorcall_NARGS(nargsf) | PY_VECTORCALL_ARGUMENTS_OFFSET;
    result = call_with_text(self, copy + 1, nargsf, kwnames);
    Py_DECREF(text);
    return result;
}

static PyObject *
dispatcher_call(PyObject *op, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    Dispatcher *self = (Dispatcher *)op;

    if (PyVectorcall_NARGS(nargsf) == 0 || PyUnicode_CheckExact(args[0]) || PyBytes_CheckExact(args[0]) ||
        PyLong_CheckExact(args[0]) || !(self->rule & PATH) || self->state->fspath == NULL)
        return call_with_text(self, args, nargsf, kwnames);
    return call_with_object(self, args, nargsf, kwnames);
}

/* Dispatcher(real, home, handler, after_all, rule) */
static PyObject *
dispatcher_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *real, *home, *handler, *after_all;
    Dispatcher *self;
    int rule;

    if (kwargs != NULL && PyDict_GET_SIZE(kwargs) > 0) {
        PyErr_SetString(PyExc_TypeError, "Dispatcher() takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "OUOOi:Dispatcher", &real, &home, &handler, &after_all, &rule))
        return NULL;
    self = (Dispatcher *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    Py_INCREF(real);
    Py_INCREF(home);
    Py_INCREF(handler);
    Py_INCREF(after_all);
    self->real = real;
    self->home = home;
    self->handler = handler;
    self->after_all = after_all;
    self->rule = rule;
    self->vectorcall = dispatcher_call;
    self->state = PyType_GetModuleState(type);
    if (self->state == NULL)
        Py_CLEAR(self);
    return (PyObject *)self;
}

static int
dispatcher_traverse(PyObject *op, visitproc visit, void *arg)
{
    Dispatcher *self = (Dispatcher *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->real);
    Py_VISIT(self->home);
    Py_VISIT(self->handler);
    Py_VISIT(self->after_all);
    return 0;
}

/* What it stands for stays until the end: somebody may call it while the interpreter goes down. */
static int
dispatcher_clear(PyObject *op)
{
    Dispatcher *self = (Dispatcher *)op;
    Py_CLEAR(self->handler);
    Py_CLEAR(self->after_all);
    return 0;
}

static void
dispatcher_dealloc(PyObject *op)
{
    Dispatcher *self = (Dispatcher *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    if (self->weakrefs != NULL)
        PyObject_ClearWeakRefs(op);
    dispatcher_clear(op);
    Py_CLEAR(self->real);
    Py_CLEAR(self->home);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyMemberDef dispatcher_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Dispatcher, vectorcall), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Dispatcher, weakrefs), READONLY, NULL},
    {"real", T_OBJECT_EX, offsetof(Dispatcher, real), READONLY, NULL},
    {"home", T_OBJECT_EX, offsetof(Dispatcher, home), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

/* All else, from equality to pickling, is inherited from Likeness, which is written in Python. */
static PyType_Slot dispatcher_slots[] = {
    {Py_tp_new, dispatcher_new},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_traverse, dispatcher_traverse},
    {Py_tp_clear, dispatcher_clear},
    {Py_tp_dealloc, dispatcher_dealloc},
    {Py_tp_members, dispatcher_members},
    {0, NULL},
};

static PyType_Spec dispatcher_spec = {
    .name = "vfsoverlay._patch._dispatch.Dispatcher",
    .basicsize = sizeof(Dispatcher),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
    .slots = dispatcher_slots,
};

/* look_for(needle, edges, names, descriptors, reading) */
static PyObject *
look_for(PyObject *module, PyObject *args)
{
    State *state = PyModule_GetState(module);
    PyObject *needle, *edges, *names, *descriptors, *reading, *bytes;

    if (!PyArg_ParseTuple(args, "UO!O!O!O:look_for", &needle, &PyTuple_Type, &edges, &PyTuple_Type, &names, &PyDict_Type,
                          &descriptors, &reading))
        return NULL;
    if (!PyAnySet_CheckExact(reading)) {
        PyErr_SetString(PyExc_TypeError, "the modes must be a set");
        return NULL;
    }
    bytes = PyUnicode_EncodeFSDefault(needle);
    if (bytes == NULL)
        return NULL;
    Py_INCREF(needle);
    Py_INCREF(edges);
    Py_INCREF(names);
    Py_INCREF(descriptors);
    Py_INCREF(reading);
    Py_XSETREF(state->needle_bytes, bytes);
    Py_XSETREF(state->needle, needle);
    Py_XSETREF(state->edges, edges);
    Py_XSETREF(state->names, names);
    Py_XSETREF(state->descriptors, descriptors);
    Py_XSETREF(state->reading, reading);
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"look_for", look_for, METH_VARARGS, "Set what all dispatchers look for."},
    {NULL, NULL, 0, NULL},
};

static int
module_exec(PyObject *module)
{
    State *state = PyModule_GetState(module);
    PyObject *home, *likeness, *bases;

    if ((state->dir_fd = PyUnicode_InternFromString("dir_fd")) == NULL ||
        (state->opener = PyUnicode_InternFromString("opener")) == NULL ||
        (state->mode = PyUnicode_InternFromString("mode")) == NULL ||
        (state->fspath = PyUnicode_InternFromString("__fspath__")) == NULL)
        return -1;
    home = PyImport_ImportModule("vfsoverlay._patch.replacement");
    if (home == NULL)
        return -1;
    likeness = PyObject_GetAttrString(home, "Likeness");
    Py_DECREF(home);
    if (likeness == NULL)
        return -1;
    bases = PyTuple_Pack(1, likeness);
    Py_DECREF(likeness);
    if (bases == NULL)
        return -1;
    state->type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &dispatcher_spec, bases);
    Py_DECREF(bases);
    return state->type == NULL ? -1 : PyModule_AddType(module, state->type);
}

static int
module_traverse(PyObject *module, visitproc visit, void *arg)
{
    State *state = PyModule_GetState(module);
    Py_VISIT(state->type);
    Py_VISIT(state->edges);
    Py_VISIT(state->names);
    Py_VISIT(state->descriptors);
    Py_VISIT(state->reading);
    return 0;
}

static int
module_clear(PyObject *module)
{
    State *state = PyModule_GetState(module);
    Py_CLEAR(state->type);
    Py_CLEAR(state->needle);
    Py_CLEAR(state->needle_bytes);
    Py_CLEAR(state->edges);
    Py_CLEAR(state->names);
    Py_CLEAR(state->descriptors);
    Py_CLEAR(state->reading);
    Py_CLEAR(state->dir_fd);
    Py_CLEAR(state->opener);
    Py_CLEAR(state->mode);
    Py_CLEAR(state->fspath);
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
    .m_name = "_dispatch",
    .m_doc = "Callables that make foreign calls at once.",
    .m_size = sizeof(State),
    .m_methods = methods,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC
PyInit__dispatch(void)
{
    return PyModuleDef_Init(&module_def);
}
