/* The plain entries of a page of a listing, as rows.
 *
 * It gives all rows or None. None it gives for whatever is not exactly as the first entry was, or not plain: printable ASCII
 * without the characters that mean something in XML. Python reads the page again then (list_parser.py), and decides.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <string.h>

/* Texts of an entry; those of S3 have seven at most. */
#define MOST_FIELDS 32
/* Digits of a number that surely fits into 64 bits. */
#define MOST_DIGITS 18
#define NS 1000000000LL
/* Any moment of these years is a number of nanoseconds that fits into 64 bits. */
#define FIRST_YEAR 1678
#define LAST_YEAR 2261
#define DAY 86400LL

/* Not '"', '&', '<' and '>'. */
static const char PLAIN[256] = {[' ' ... '!'] = 1, ['#' ... '%'] = 1, ['\'' ... ';'] = 1, ['='] = 1, ['?' ... '~'] = 1};

typedef struct {
    const char *at;
    Py_ssize_t size;
} Text;

/* What an entry consists of: a literal, a text of this kind, a literal, and so on. */
typedef struct {
    Text literals[MOST_FIELDS + 1];
    const char *kinds;
    Py_ssize_t count;
} Shape;

typedef struct {
    Text key, date, etag, size, class;
} Entry;

typedef struct {
    const char *at, *stop;
    int encoded;
    PyObject *parse_date, *nothing;
    /* Of the last entry: the next one is often alike. */
    Text date, class;
    PyObject *moment, *kind;
} Reader;

static int
is_same(Text one, Text other)
{
    return one.size == other.size && memcmp(one.at, other.at, one.size) == 0;
}

/* --- from bytes to the texts of an entry */

static int
pass(Reader *reader, Text literal)
{
    if (reader->stop - reader->at < literal.size || memcmp(reader->at, literal.at, literal.size) != 0)
        return 0;
    reader->at += literal.size;
    return 1;
}

/* All that is plain; the literal behind it begins with a character that is not. */
static Text
take(Reader *reader)
{
    const char *start = reader->at, *at = start;

    while (at < reader->stop && PLAIN[(unsigned char)*at])
        at++;
    reader->at = at;
    return (Text){start, at - start};
}

#define LITERAL(text) ((Text){text, sizeof(text) - 1})

/* Checksums come and go from entry to entry. */
static int
pass_checksums(Reader *reader)
{
    for (;;) {
        Text end;
        if (pass(reader, LITERAL("<ChecksumAlgorithm>")))
            end = LITERAL("</ChecksumAlgorithm>");
        else if (pass(reader, LITERAL("<ChecksumType>")))
            end = LITERAL("</ChecksumType>");
        else
            return 1;
        take(reader);
        if (!pass(reader, end))
            return 0;
    }
}

static int
read_entry(Reader *reader, const Shape *shape, Entry *entry)
{
    for (Py_ssize_t i = 0; i < shape->count; i++) {
        Text text;
        if (!pass(reader, shape->literals[i]))
            return 0;
        if (shape->kinds[i] == '+') {
            if (!pass_checksums(reader))
                return 0;
            continue;
        }
        text = take(reader);
        switch (shape->kinds[i]) {
        case 'K':
            entry->key = text;
            break;
        case 'L':
            entry->date = text;
            break;
        case 'E':
            entry->etag = text;
            break;
        case 'S':
            entry->size = text;
            break;
        case 'C':
            entry->class = text;
            break;
        }
    }
    return pass(reader, shape->literals[shape->count]);
}

/* --- from texts to values; NULL without an exception: not plain */

static PyObject *
ascii(Text text)
{
    return PyUnicode_DecodeASCII(text.at, text.size, NULL);
}

static int
hexadecimal(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* As urllib.parse.unquote_plus(key, errors="surrogateescape"). */
static PyObject *
unquoted(Text key)
{
    const char *at = key.at, *stop = key.at + key.size;
    char *buffer = PyMem_Malloc(key.size), *end = buffer;
    PyObject *result;

    if (buffer == NULL)
        return PyErr_NoMemory();
    while (at < stop) {
        if (*at == '%' && stop - at > 2 && hexadecimal(at[1]) >= 0 && hexadecimal(at[2]) >= 0) {
            *end++ = (char)(hexadecimal(at[1]) << 4 | hexadecimal(at[2]));
            at += 3;
            continue;
        }
        *end++ = *at == '+' ? ' ' : *at;
        at++;
    }
    result = PyUnicode_DecodeUTF8(buffer, end - buffer, "surrogateescape");
    PyMem_Free(buffer);
    return result;
}

static PyObject *
read_key(Reader *reader, Text key)
{
    if (key.size == 0)
        return NULL;
    if (reader->encoded && (memchr(key.at, '%', key.size) != NULL || memchr(key.at, '+', key.size) != NULL))
        return unquoted(key);
    return ascii(key);
}

/* The number that *text* is; -1 where it is none, or a large one. */
static long long
number(Text text)
{
    long long value = 0;

    if (text.size < 1 || text.size > MOST_DIGITS)
        return -1;
    for (Py_ssize_t i = 0; i < text.size; i++) {
        if (text.at[i] < '0' || text.at[i] > '9')
            return -1;
        value = value * 10 + (text.at[i] - '0');
    }
    return value;
}

static PyObject *
read_size(Text text)
{
    long long size = number(text);
    return size < 0 ? NULL : PyLong_FromLongLong(size);
}

/* Days since the epoch; March is the first month of a year that ends with its leap day. */
static long long
days(long long year, long long month, long long day)
{
    long long since_march = (month + 9) % 12;

    year -= month < 3;
    return 365 * year + year / 4 - year / 100 + year / 400 + (153 * since_march + 2) / 5 + day - 1 - 719468;
}

static int
is_date(long long year, long long month, long long day)
{
    static const char length[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

    return year >= FIRST_YEAR && year <= LAST_YEAR && month >= 1 && month <= 12 && day >= 1 &&
           day <= length[month - 1] + (month == 2 && is_leap);
}

/* Read what all servers write, such as 2020-02-29T12:00:00.000Z; 0: it is something else. */
static int
read_moment(Text text, long long *moment)
{
    const char *at = text.at;
    long long year, month, day, hour, minute, second, fraction = 0;

    if (text.size < 20 || at[4] != '-' || at[7] != '-' || at[10] != 'T' || at[13] != ':' || at[16] != ':')
        return 0;
    year = number((Text){at, 4});
    month = number((Text){at + 5, 2});
    day = number((Text){at + 8, 2});
    hour = number((Text){at + 11, 2});
    minute = number((Text){at + 14, 2});
    second = number((Text){at + 17, 2});
    if (text.size > 20) {
        Py_ssize_t places = text.size - 21;
        fraction = at[19] != '.' || places > 9 ? -1 : number((Text){at + 20, places});
        for (; places < 9; places++)
            fraction *= 10;
    }
    if (at[text.size - 1] != 'Z' || !is_date(year, month, day) || fraction < 0)
        return 0;
    if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59)
        return 0;
    *moment = (days(year, month, day) * DAY + hour * 3600 + minute * 60 + second) * NS + fraction;
    return 1;
}

static PyObject *
parsed_date(Reader *reader, Text date)
{
    PyObject *text, *moment;
    long long nanoseconds;

    if (read_moment(date, &nanoseconds))
        return PyLong_FromLongLong(nanoseconds);
    text = ascii(date);
    if (text == NULL)
        return NULL;
    moment = PyObject_CallOneArg(reader->parse_date, text);
    Py_DECREF(text);
    if (moment != NULL && !PyLong_CheckExact(moment)) {
        PyErr_SetString(PyExc_TypeError, "a date is an int");
        Py_CLEAR(moment);
    }
    return moment;
}

static PyObject *
read_date(Reader *reader, Text date)
{
    if (reader->moment == NULL || !is_same(date, reader->date)) {
        PyObject *moment = parsed_date(reader, date);
        if (moment == NULL)
            return NULL;
        Py_XSETREF(reader->moment, moment);
        reader->date = date;
    }
    return Py_NewRef(reader->moment);
}

static PyObject *
read_class(Reader *reader, Text class)
{
    if (reader->kind == NULL || !is_same(class, reader->class)) {
        PyObject *kind;
        if (class.size > 0 && (class.at[0] == ' ' || class.at[class.size - 1] == ' '))
            return NULL;
        kind = is_same(class, LITERAL("STANDARD")) ? Py_NewRef(reader->nothing) : ascii(class);
        if (kind == NULL)
            return NULL;
        Py_XSETREF(reader->kind, kind);
        reader->class = class;
    }
    return Py_NewRef(reader->kind);
}

static PyObject *
make_row(Reader *reader, const Entry *entry)
{
    PyObject *key = read_key(reader, entry->key), *size = NULL, *moment = NULL, *etag = NULL, *kind = NULL, *row = NULL;

    if (key != NULL)
        size = read_size(entry->size);
    if (size != NULL)
        moment = read_date(reader, entry->date);
    if (moment != NULL)
        etag = ascii(entry->etag);
    if (etag != NULL)
        kind = read_class(reader, entry->class);
    if (kind != NULL)
        row = PyTuple_Pack(6, key, size, moment, etag, kind, reader->nothing);
    Py_XDECREF(key);
    Py_XDECREF(size);
    Py_XDECREF(moment);
    Py_XDECREF(etag);
    Py_XDECREF(kind);
    /* Numbers and texts lead nowhere: the garbage collector need not look at them. */
    if (row != NULL)
        PyObject_GC_UnTrack(row);
    return row;
}

static PyObject *
read_all(Reader *reader, const Shape *shape)
{
    PyObject *rows = PyList_New(0);

    while (rows != NULL && reader->at < reader->stop) {
        Entry entry = {{"", 0}, {"", 0}, {"", 0}, {"", 0}, {"", 0}};
        PyObject *row = read_entry(reader, shape, &entry) ? make_row(reader, &entry) : NULL;
        if (row == NULL || PyList_Append(rows, row) < 0)
            Py_CLEAR(rows);
        Py_XDECREF(row);
    }
    return rows;
}

/* 1: done; 0: there is no place for so many; -1: an exception. */
static int
read_shape(Shape *shape, PyObject *literals, PyObject *kinds)
{
    shape->count = PyBytes_GET_SIZE(kinds);
    shape->kinds = PyBytes_AS_STRING(kinds);
    if (PyTuple_GET_SIZE(literals) != shape->count + 1) {
        PyErr_SetString(PyExc_ValueError, "read_rows() takes one literal more than there are kinds");
        return -1;
    }
    if (shape->count > MOST_FIELDS)
        return 0;
    for (Py_ssize_t i = 0; i <= shape->count; i++) {
        PyObject *literal = PyTuple_GET_ITEM(literals, i);
        if (!PyBytes_CheckExact(literal) || PyBytes_GET_SIZE(literal) == 0) {
            PyErr_SetString(PyExc_TypeError, "read_rows() takes literals that are bytes, and not empty");
            return -1;
        }
        shape->literals[i] = (Text){PyBytes_AS_STRING(literal), PyBytes_GET_SIZE(literal)};
    }
    return 1;
}

/* read_rows(body, start, stop, literals, kinds, encoded, parse_date) */
static PyObject *
read_rows(PyObject *module, PyObject *args)
{
    PyObject *body, *literals, *kinds, *rows;
    Py_ssize_t start, stop;
    Reader reader = {0};
    Shape shape;
    int known;

    if (!PyArg_ParseTuple(args, "SnnO!SpO:read_rows", &body, &start, &stop, &PyTuple_Type, &literals, &kinds,
                          &reader.encoded, &reader.parse_date))
        return NULL;
    if (start < 0 || stop < start || stop > PyBytes_GET_SIZE(body)) {
        PyErr_SetString(PyExc_ValueError, "read_rows() takes a part of the body");
        return NULL;
    }
    known = read_shape(&shape, literals, kinds);
    if (known < 1)
        return known < 0 ? NULL : Py_NewRef(Py_None);
    reader.at = PyBytes_AS_STRING(body) + start;
    reader.stop = PyBytes_AS_STRING(body) + stop;
    reader.nothing = PyUnicode_New(0, 0);
    rows = reader.nothing == NULL ? NULL : read_all(&reader, &shape);
    Py_XDECREF(reader.nothing);
    Py_XDECREF(reader.moment);
    Py_XDECREF(reader.kind);
    if (rows == NULL && !PyErr_Occurred())
        Py_RETURN_NONE;
    return rows;
}

static PyMethodDef methods[] = {
    {"read_rows", read_rows, METH_VARARGS, "All rows, or None."},
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
    .m_name = "_entries",
    .m_doc = "Reads the plain entries of a listing.",
    .m_methods = methods,
    .m_slots = module_slots,
};

PyMODINIT_FUNC
PyInit__entries(void)
{
    return PyModuleDef_Init(&module_def);
}
