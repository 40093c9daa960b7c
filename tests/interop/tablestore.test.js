// The local Tablestore by Alibaba's own client for Node.js, which shares no line with the Python SDK.

'use strict';

const assert = require('node:assert/strict');
const { before, describe, it } = require('node:test');

const TableStore = require('tablestore');

const { Long, Condition, SingleColumnCondition, CompositeCondition, ComparatorType, ReturnType } = TableStore;
const { IGNORE, EXPECT_EXIST, EXPECT_NOT_EXIST } = TableStore.RowExistenceExpectation;

const ANYWAY = new Condition(IGNORE, null);
const integer = (number) => Long.fromNumber(number);
const key = (part, n) => [{ part }, { n: integer(n) }];
const KEY = [{ name: 'part', type: 'STRING' }, { name: 'n', type: 'INTEGER' }];

function client(options = {}) {
  return new TableStore.Client({
    endpoint: process.env.OTS_ENDPOINT,
    instancename: process.env.OTS_INSTANCE,
    accessKeyId: process.env.ACCESS_KEY_ID,
    secretAccessKey: process.env.ACCESS_KEY_SECRET,
    maxRetries: 0,
    ...options,
  });
}

const ots = client();

/** A table of its own for each group of tests. */
async function fresh(tableName, { primaryKey = KEY, maxVersions = 1, ...more } = {}) {
  await ots.createTable({
    tableMeta: { tableName, primaryKey },
    reservedThroughput: { capacityUnit: { read: 0, write: 0 } },
    tableOptions: { timeToLive: -1, maxVersions, ...more },
  });
  return tableName;
}

/** A value as tests write it: the client reads integers as objects of its own. */
function plain(value) {
  return value instanceof Buffer || typeof value !== 'object' ? value : value.toNumber();
}

/** The attributes of a row by name; null when there is no row. */
function attributes(row) {
  if (row.primaryKey === undefined) return null;
  return Object.fromEntries(row.attributes.map((column) => [column.columnName, plain(column.columnValue)]));
}

const keyOf = (row) => Object.fromEntries(row.primaryKey.map((column) => [column.name, plain(column.value)]));
const put = (tableName, primaryKey, attributeColumns, more = {}) =>
  ots.putRow({ tableName, primaryKey, attributeColumns, condition: ANYWAY, ...more });
const update = (tableName, primaryKey, updateOfAttributeColumns, more = {}) =>
  ots.updateRow({ tableName, primaryKey, updateOfAttributeColumns, condition: ANYWAY, ...more });
const get = async (tableName, primaryKey, more = {}) =>
  attributes((await ots.getRow({ tableName, primaryKey, ...more })).row);

/** The client gives the status, and the whole error message as it came, unparsed. */
async function refused(call, status, code, text) {
  await assert.rejects(call, (error) => {
    assert.equal(error.code, status);
    assert.ok(error.message.includes(code) && error.message.includes(text), error.message);
    return true;
  });
}

const conditionFailed = (call) => refused(call, 403, 'OTSConditionCheckFail', 'Condition check failed.');

describe('tables', () => {
  it('are listed, described, changed and deleted', async () => {
    const tableName = await fresh('interop_tables');
    assert.ok((await ots.listTable({})).tableNames.includes(tableName));
    await refused(() => fresh('interop_tables'), 409, 'OTSObjectAlreadyExist', 'Requested table already exists.');

    await ots.updateTable({ tableName, tableOptions: { timeToLive: 86400, maxVersions: 4, maxTimeDeviation: 60 } });
    const { tableMeta, tableOptions } = await ots.describeTable({ tableName });
    assert.deepEqual(tableMeta.primaryKey.map(({ name, type }) => [name, type]), [['part', 2], ['n', 1]]);
    assert.deepEqual([tableOptions.timeToLive, tableOptions.maxVersions], [86400, 4]);
    assert.equal(Number(tableOptions.deviationCellVersionInSec), 60);

    await ots.deleteTable({ tableName });
    await refused(
      () => ots.describeTable({ tableName }), 404, 'OTSObjectNotExist', 'Requested table does not exist.');
  });
});

describe('rows', () => {
  let table;
  before(async () => {
    table = await fresh('interop_rows');
  });

  it('come back with every type of value', async () => {
    const primaryKey = key('账单', -5);
    const values = { blob: Buffer.from([0, 255]), no: false, number: 1.5, text: '人民币 ¥ 🙂', yes: true };
    const columns = [...Object.entries(values).map(([name, value]) => ({ [name]: value })), { whole: integer(-7) }];
    await put(table, primaryKey, columns, { condition: new Condition(EXPECT_NOT_EXIST, null) });

    const { row } = await ots.getRow({ tableName: table, primaryKey });
    assert.deepEqual(keyOf(row), { part: '账单', n: -5 });
    assert.deepEqual(attributes(row), { ...values, whole: -7 });
    assert.ok(Math.abs(Number(row.attributes[0].timestamp) - Date.now()) < 60_000);
  });

  it('are updated column by column', async () => {
    await put(table, key('update', 1), [{ keep: 'k' }, { drop: 'd' }, { change: 'old' }]);
    await update(table, key('update', 1), [{ PUT: [{ change: 'new' }] }, { DELETE_ALL: ['drop'] }]);
    assert.deepEqual(await get(table, key('update', 1)), { change: 'new', keep: 'k' });
    assert.deepEqual(await get(table, key('update', 1), { columnsToGet: ['keep'] }), { keep: 'k' });
  });

  it('are gone when deleted', async () => {
    await put(table, key('delete', 1), [{ x: 'x' }]);
    await ots.deleteRow({ tableName: table, primaryKey: key('delete', 1), condition: ANYWAY });
    assert.equal(await get(table, key('delete', 1)), null);
  });

  it('count, and give the new number back', async () => {
    const counting = () =>
      update(table, key('count', 1), [{ INCREMENT: [{ n_counted: integer(21) }] }], {
        returnContent: { returnType: ReturnType.AfterModify, returnColumns: ['n_counted'] },
      });
    assert.deepEqual(attributes((await counting()).row), { n_counted: 21 });
    assert.deepEqual(attributes((await counting()).row), { n_counted: 42 });
  });

  it('are written on conditions and found by filters', async () => {
    const equal = (name, value, ...more) => new SingleColumnCondition(name, value, ComparatorType.EQUAL, ...more);
    const both = new CompositeCondition(TableStore.LogicalOperator.AND);
    both.addSubCondition(equal('name', 'john'));
    both.addSubCondition(new SingleColumnCondition('age', integer(30), ComparatorType.GREATER_THAN));
    const at = key('condition', 1);
    await conditionFailed(() => put(table, at, [], { condition: new Condition(EXPECT_EXIST, null) }));
    await put(table, at, [{ name: 'john' }, { age: integer(31) }]);
    await conditionFailed(() => put(table, at, [], { condition: new Condition(EXPECT_NOT_EXIST, null) }));

    await update(table, at, [{ PUT: [{ age: integer(30) }] }], { condition: new Condition(EXPECT_EXIST, both) });
    await conditionFailed(() =>
      update(table, at, [{ PUT: [{ age: integer(29) }] }], { condition: new Condition(EXPECT_EXIST, both) }));
    assert.deepEqual(await get(table, at, { columnFilter: equal('name', 'john') }), { age: 30, name: 'john' });
    assert.equal(await get(table, at, { columnFilter: equal('name', 'jane') }), null);
    assert.equal(await get(table, at, { columnFilter: equal('absent', 'x', false) }), null);
  });

  it('have an outcome each in a batch', async () => {
    await put(table, key('batch', 3), [{ x: 'gone' }]);
    const row = (type, n, attributeColumns, expected = IGNORE) => ({
      type, primaryKey: key('batch', n), attributeColumns, condition: new Condition(expected, null),
    });
    const { tables } = await ots.batchWriteRow({
      tables: [{
        tableName: table,
        rows: [
          row('PUT', 1, [{ x: 'put' }]),
          row('UPDATE', 2, [{ PUT: [{ x: 'updated' }] }]),
          row('DELETE', 3),
          row('UPDATE', 4, [{ PUT: [{ x: 'never' }] }], EXPECT_EXIST),
        ],
      }],
    });
    assert.deepEqual(tables.map((done) => done.isOk), [true, true, true, false]);
    assert.equal(tables[3].errorCode, 'OTSConditionCheckFail');

    const primaryKey = [1, 2, 3].map((n) => key('batch', n));
    const [found] = (await ots.batchGetRow({ tables: [{ tableName: table, primaryKey }] })).tables;
    assert.deepEqual(found.map((one) => one.primaryKey && attributes(one)), [{ x: 'put' }, { x: 'updated' }, null]);
  });

  it('are refused in the words of the service', async () => {
    await refused(() => put(table, [{ part: 'a' }], []), 400, 'OTSInvalidPK', 'Validate PK size fail.');
    await refused(
      () => put(table, key('a', 1), [{ 'a-b': 'x' }]), 400, 'OTSParameterInvalid', "Invalid column name: 'a-b'.");
  });
});

describe('ranges', () => {
  const ends = (part) => [TableStore.INF_MIN, TableStore.INF_MAX].map((n) => [{ part }, { n }]);
  const numbers = (rows) => rows.map((row) => keyOf(row).n);
  let table;
  before(async () => {
    table = await fresh('interop_ranges');
    const rows = [-3, -1, 0, 2, 300].flatMap((n) => ['a', 'b'].map((part) => ({
      type: 'PUT', condition: ANYWAY, primaryKey: key(part, n), attributeColumns: [{ even: n % 2 === 0 }],
    })));
    await ots.batchWriteRow({ tables: [{ tableName: table, rows }] });
  });

  async function pages(direction, limit, more = {}) {
    const [start, end] = direction === 'FORWARD' ? ends('a') : ends('a').reverse();
    const found = [];
    let next = start;
    while (next !== null) {
      const { rows, nextStartPrimaryKey } = await ots.getRange({
        tableName: table, direction, inclusiveStartPrimaryKey: next, exclusiveEndPrimaryKey: end, limit, ...more,
      });
      found.push(numbers(rows));
      next = nextStartPrimaryKey && nextStartPrimaryKey.map(({ name, value }) => ({ [name]: value }));
    }
    return found;
  }

  it('are read forwards and backwards, page by page', async () => {
    assert.deepEqual(await pages('FORWARD', 2), [[-3, -1], [0, 2], [300]]);
    assert.deepEqual(await pages('BACKWARD', 3), [[300, 2, 0], [-1, -3]]);
  });

  it('leave out what a filter does not keep', async () => {
    const columnFilter = new SingleColumnCondition('even', true, ComparatorType.EQUAL, false);
    assert.deepEqual((await pages('FORWARD', undefined, { columnFilter })).flat(), [0, 2, 300]);
  });

  it('do not run the wrong way', async () => {
    const [start, end] = ends('a');
    const wrong = { direction: 'FORWARD', inclusiveStartPrimaryKey: end, exclusiveEndPrimaryKey: start };
    await refused(() => ots.getRange({ tableName: table, ...wrong }), 400, 'OTSParameterInvalid', 'Begin key must less');
  });
});

describe('versions', () => {
  it('are kept as many as the table says, newest first, and read by time', async () => {
    const table = await fresh('interop_versions', { maxVersions: 2 });
    const now = Date.now();
    const cell = (at) => ({ x: `at ${at}`, timestamp: integer(now + at) });
    await update(table, key('a', 1), [{ PUT: [cell(-30)] }]);
    await update(table, key('a', 1), [{ PUT: [cell(-10)] }]);
    await update(table, key('a', 1), [{ PUT: [cell(-20)] }]);

    const read = async (more) =>
      (await ots.getRow({ tableName: table, primaryKey: key('a', 1), maxVersions: 9, ...more })).row.attributes;
    assert.deepEqual((await read()).map((column) => column.columnValue), ['at -10', 'at -20']);
    assert.deepEqual((await read()).map((column) => Number(column.timestamp) - now), [-10, -20]);
    const timeRange = { startTime: String(now - 25), endTime: String(now - 15) };
    assert.deepEqual((await read({ timeRange })).map((column) => column.columnValue), ['at -20']);
  });
});

describe('numbered rows', () => {
  it('get numbers that rise, and give them back', async () => {
    const primaryKey = [{ name: 'part', type: 'STRING' }, { name: 'n', type: 'INTEGER', option: 'AUTO_INCREMENT' }];
    const table = await fresh('interop_numbers', { primaryKey });
    const add = async (x) => {
      const asked = [{ part: 'a' }, { n: TableStore.PK_AUTO_INCR }];
      const { row } = await put(table, asked, [{ x }], { returnContent: { returnType: ReturnType.Primarykey } });
      return keyOf(row).n;
    };
    const [first, second] = [await add('first'), await add('second')];

    assert.ok(first < second, `${first} then ${second}`);
    assert.deepEqual(await get(table, key('a', second)), { x: 'second' });
    await refused(
      () => put(table, key('a', 1), []), 400, 'OTSParameterInvalid', 'when modify a specific row for table with pk auto');
  });
});

describe('local transactions', () => {
  let table;
  before(async () => {
    table = await fresh('interop_transactions');
  });
  const begin = async (part) =>
    (await ots.startLocalTransaction({ tableName: table, primaryKey: [{ part }] })).transactionId;

  it('keep all changes at the commit, and none before', async () => {
    const transactionId = await begin('a');
    await put(table, key('a', 1), [{ x: 'put' }], { transactionId });
    await update(table, key('a', 2), [{ PUT: [{ x: 'updated' }] }], { transactionId });
    assert.deepEqual(await get(table, key('a', 1), { transactionId }), { x: 'put' });
    assert.equal(await get(table, key('a', 1)), null);
    await refused(() => put(table, key('a', 3), []), 409, 'OTSRowOperationConflict', 'Data is being modified');
    await ots.commitTransaction({ transactionId });

    assert.deepEqual(await get(table, key('a', 1)), { x: 'put' });
    assert.deepEqual(await get(table, key('a', 2)), { x: 'updated' });
    await refused(() => ots.commitTransaction({ transactionId }), 404, 'OTSSessionNotExist', 'Session not exist');
  });

  it('leave nothing when aborted', async () => {
    const transactionId = await begin('b');
    await put(table, key('b', 1), [{ x: 'put' }], { transactionId });
    // The client takes the answer for a request, which would name the transaction; it says so after the abort.
    await assert.rejects(ots.abortTransaction({ transactionId }), /missing required 'transactionId'/);
    assert.equal(await get(table, key('b', 1)), null);
    await put(table, key('b', 1), [{ x: 'free' }]);
  });
});

describe('strangers', () => {
  it('are refused', async () => {
    await refused(() => client({ secretAccessKey: 'wrong' }).listTable({}), 403, 'OTSAuthFailed', 'Signature mismatch.');
    await refused(
      () => client({ accessKeyId: 'LTAIstranger' }).listTable({}), 403, 'OTSAuthFailed', 'AccessKeyID does not exist');
    await refused(
      () => client({ instancename: 'elsewhere' }).listTable({}), 403, 'OTSAuthFailed', 'The instance is not found.');
  });
});
