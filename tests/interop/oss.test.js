// The local OSS by Alibaba's own client for Node.js, which shares no line with the Python SDK.

'use strict';

const assert = require('node:assert/strict');
const { randomBytes } = require('node:crypto');
const { Readable } = require('node:stream');
const { before, describe, it } = require('node:test');

const OSS = require('ali-oss');

const PART = 100 * 1024;
const KEY = '账单/六月 2025+%.csv';

/** A client; the local OSS takes signatures of version 4 alone, which this one has to be asked for. */
function client(options = {}) {
  return new OSS({
    endpoint: process.env.OSS_ENDPOINT,
    region: `oss-${process.env.REGION}`,
    accessKeyId: process.env.ACCESS_KEY_ID,
    accessKeySecret: process.env.ACCESS_KEY_SECRET,
    authorizationV4: true,
    sldEnable: true, // the bucket in the path: a local host has no names below it
    secure: false,
    ...options,
  });
}

/** A client of a bucket of its own. */
async function fresh(name) {
  await client().putBucket(name);
  return client({ bucket: name });
}

async function refused(call, status, code) {
  await assert.rejects(call, (error) => {
    assert.deepEqual([error.status, error.code], [status, code]);
    return true;
  });
}

const names = (objects) => objects.map((object) => object.name);

describe('objects', () => {
  let bucket;
  before(async () => {
    bucket = await fresh('interop-objects');
  });

  it('come back as they were put', async () => {
    const body = randomBytes(100_000);
    const put = await bucket.put(KEY, body, { mime: 'text/csv', meta: { cycle: '2025-06' } });
    const got = await bucket.get(KEY);

    assert.deepEqual(got.content, body);
    assert.equal(put.res.headers.etag, got.res.headers.etag);
    const head = await bucket.head(KEY);
    assert.deepEqual(head.meta, { cycle: '2025-06' });
    assert.equal(head.res.headers['content-type'], 'text/csv');
    assert.equal(head.res.headers['content-length'], '100000');
  });

  it('arrive as streams, and are read in ranges', async () => {
    await bucket.putStream('stream', Readable.from([Buffer.from('0123'), Buffer.from('456789')]));

    const got = await bucket.get('stream', { headers: { Range: 'bytes=2-4' } });
    assert.deepEqual([got.res.status, got.content.toString()], [206, '234']);
    const { stream } = await bucket.getStream('stream');
    assert.equal(Buffer.concat(await stream.toArray()).toString(), '0123456789');
  });

  it('are not overwritten where that is forbidden', async () => {
    const headers = { 'x-oss-forbid-overwrite': 'true' };
    await bucket.put('once', Buffer.from('1'), { headers: { ...headers } });

    await refused(bucket.put('once', Buffer.from('2'), { headers: { ...headers } }), 409, 'FileAlreadyExists');
    assert.equal((await bucket.get('once')).content.toString(), '1');
  });

  it('are copied, with their headers or new ones', async () => {
    await bucket.put('source 1', Buffer.from('1'), { mime: 'text/csv', meta: { a: '1' } });

    const copied = await bucket.copy('copy', 'source 1');
    await bucket.copy('copy with meta', 'source 1', { meta: { b: '2' } });
    await bucket.putMeta('copy', { c: '3' });

    const { etag } = (await bucket.head('source 1')).res.headers;
    assert.equal(copied.data.etag, etag);
    assert.deepEqual((await bucket.head('copy with meta')).meta, { b: '2' });
    assert.deepEqual((await bucket.head('copy')).meta, { c: '3' });
    assert.equal((await bucket.get('copy')).content.toString(), '1');
  });

  it('are copied from another bucket', async () => {
    const other = await fresh('interop-other');
    await other.put(KEY, Buffer.from('from there'));

    await bucket.copy('here', KEY, 'interop-other');

    assert.equal((await bucket.get('here')).content.toString(), 'from there');
    await refused(bucket.copy('here', 'absent', 'interop-other'), 404, 'NoSuchKey');
  });

  it('grow by appends at their end alone', async () => {
    const first = await bucket.append('log', Buffer.from('one\n'));
    const second = await bucket.append('log', Buffer.from('two\n'), { position: first.nextAppendPosition });

    assert.deepEqual([first.nextAppendPosition, second.nextAppendPosition], ['4', '8']);
    assert.equal((await bucket.get('log')).content.toString(), 'one\ntwo\n');
    await refused(bucket.append('log', Buffer.from('x'), { position: 4 }), 409, 'PositionNotEqualToLength');
    await bucket.put('plain', Buffer.from(''));
    await refused(bucket.append('plain', Buffer.from('x')), 409, 'ObjectNotAppendable');
  });

  it('go one by one and many at once', async () => {
    const keys = ['gone/1', 'gone/<&>', 'gone/账单'];
    for (const key of keys) await bucket.put(key, Buffer.from('1'));

    assert.equal((await bucket.delete(keys[0])).res.status, 204);
    const { deleted } = await bucket.deleteMulti(keys);
    assert.deepEqual(deleted.map((entry) => entry.Key), keys);
    assert.deepEqual((await bucket.deleteMulti(keys, { quiet: true })).deleted, []);
    assert.equal((await bucket.listV2({ prefix: 'gone/' })).keyCount, 0);
    await refused(bucket.head(keys[1]), 404, 'NoSuchKey');
  });

  it('have tags', async () => {
    await bucket.put('tagged', Buffer.from('1'), { headers: { 'x-oss-tagging': 'a=1' } });
    assert.deepEqual((await bucket.getObjectTagging('tagged')).tag, { a: '1' });

    const tags = { 'a key': 'x+y=z', kind: 'statement' };
    await bucket.putObjectTagging('tagged', tags);

    assert.deepEqual((await bucket.getObjectTagging('tagged')).tag, tags);
    assert.equal((await bucket.head('tagged')).res.headers['x-oss-tagging-count'], '2');
    await bucket.deleteObjectTagging('tagged');
    assert.deepEqual((await bucket.getObjectTagging('tagged')).tag, {});
  });
});

describe('listings', () => {
  const keys = ['a/1', 'a/2', 'b &+%', 'c/账单', 'd'];
  let bucket;
  before(async () => {
    bucket = await fresh('interop-listing');
    for (const key of keys) await bucket.put(key, Buffer.from('1'));
  });

  it('of both versions page through all keys', async () => {
    for (const encoding of [{}, { 'encoding-type': 'url' }]) {
      const read = (key) => ('encoding-type' in encoding ? decodeURIComponent(key) : key);
      const first = await pages((where) => bucket.list({ 'max-keys': 2, ...encoding, ...where }), (page) =>
        page.nextMarker ? { marker: read(page.nextMarker) } : null,
      );
      assert.deepEqual(first.map(read), keys);

      const second = await pages((where) => bucket.listV2({ 'max-keys': 2, ...encoding, ...where }), (page) =>
        page.nextContinuationToken ? { 'continuation-token': page.nextContinuationToken } : null,
      );
      assert.deepEqual(second.map(read), keys);
    }
  });

  /** The names on all pages. An undefined parameter would be sent and not signed, so each page gives a query. */
  async function pages(list, following) {
    let found = [];
    for (let where = {}; where !== null; ) {
      const page = await list(where);
      found = found.concat(names(page.objects));
      where = following(page);
    }
    return found;
  }

  it('of both versions group by a delimiter', async () => {
    for (const page of [await bucket.list({ delimiter: '/' }), await bucket.listV2({ delimiter: '/' })]) {
      assert.deepEqual(page.prefixes, ['a/', 'c/']);
      assert.deepEqual(names(page.objects), ['b &+%', 'd']);
    }
    const rest = await bucket.listV2({ 'start-after': 'a/2', 'fetch-owner': true });
    assert.deepEqual(names(rest.objects), keys.slice(2));
    assert.match(rest.objects[0].owner.id, /^\d+$/);
  });

  it('refuse what is no page', async () => {
    await refused(bucket.list({ 'max-keys': 1001 }), 400, 'InvalidArgument');
    await refused(client({ bucket: 'interop-nowhere' }).listV2(), 404, 'NoSuchBucket');
  });
});

describe('uploads in parts', () => {
  const body = randomBytes(3 * PART + 5);
  let bucket;
  before(async () => {
    bucket = await fresh('interop-parts');
  });

  it('become one object', async () => {
    const done = await bucket.multipartUpload('large', body, { partSize: PART, parallel: 2, mime: 'text/csv' });

    assert.match(done.etag, /-4"$/);
    const got = await bucket.get('large');
    assert.deepEqual(got.content, body);
    assert.equal(got.res.headers['content-type'], 'text/csv');
  });

  it('are copied part by part on the side of the service', async () => {
    await bucket.put('source', body);
    const source = { sourceKey: 'source', sourceBucketName: 'interop-parts' };

    await bucket.multipartUploadCopy('whole', { ...source }, { partSize: PART });
    assert.deepEqual((await bucket.get('whole')).content, body);

    const { uploadId } = await bucket.initMultipartUpload('slice');
    const part = await bucket.uploadPartCopy('slice', uploadId, 1, '10-19', source);
    assert.equal(part.res.headers['content-range'], `bytes 10-19/${body.length}`);
    await bucket.completeMultipartUpload('slice', uploadId, [{ number: 1, etag: part.etag }]);
    assert.deepEqual((await bucket.get('slice')).content, body.subarray(10, 20));
  });

  it('are listed until they are finished or aborted', async () => {
    const ids = [];
    for (const key of ['u/1', 'u/2', 'v']) ids.push((await bucket.initMultipartUpload(key)).uploadId);
    await bucket.uploadPart('v', ids[2], 3, body, 0, 10);
    await bucket.uploadPart('v', ids[2], 7, body, 10, 30);

    const first = await bucket.listUploads({ 'max-uploads': 2 });
    assert.deepEqual(first.uploads.map((upload) => upload.uploadId), ids.slice(0, 2));
    const markers = { 'key-marker': first.nextKeyMarker, 'upload-id-marker': first.nextUploadIdMarker };
    const rest = await bucket.listUploads({ 'max-uploads': 2, ...markers });
    assert.deepEqual(rest.uploads.map((upload) => upload.name), ['v']);
    const parts = await bucket.listParts('v', ids[2], { 'max-parts': 1 });
    assert.deepEqual([parts.isTruncated, parts.nextPartNumberMarker, parts.parts.Size], ['true', '3', '10']);

    await bucket.abortMultipartUpload('v', ids[2]);
    assert.deepEqual((await bucket.listUploads({ prefix: 'v' })).uploads, []);
    await refused(bucket.listParts('v', ids[2]), 404, 'NoSuchUpload');
  });
});

describe('signatures', () => {
  let bucket;
  before(async () => {
    bucket = await fresh('interop-signed');
    await bucket.put(KEY, Buffer.from('secret'));
    await bucket.put('other', Buffer.from('other'));
  });

  const code = async (response) => /<Code>(.*)<\/Code>/.exec(await response.text())?.[1];
  const answer = async (url, options) => {
    const response = await fetch(url, options);
    return [response.status, response.ok ? await response.text() : await code(response)];
  };

  it('in a link open what they were made for', async () => {
    const queries = { 'response-content-disposition': 'attachment; filename="六月.csv"' };
    const response = await fetch(await bucket.signatureUrlV4('GET', 60, { queries }, KEY));

    assert.equal(await response.text(), 'secret');
    assert.match(response.headers.get('content-disposition'), /^attachment/);
  });

  it('in a link let others put what was agreed', async () => {
    const headers = { 'Content-Type': 'text/csv' };
    const url = await bucket.signatureUrlV4('PUT', 60, { headers }, 'put by link');

    assert.equal((await fetch(url, { method: 'PUT', headers, body: 'a,b' })).status, 200);
    assert.equal((await bucket.get('put by link')).content.toString(), 'a,b');
    const html = { method: 'PUT', headers: { 'Content-Type': 'text/html' }, body: 'x' };
    assert.deepEqual(await answer(url, html), [403, 'SignatureDoesNotMatch']);
  });

  it('in a link cover every part of it', async () => {
    const link = new URL(await bucket.signatureUrlV4('GET', 60, {}, 'other'));
    const forged = {
      key: (url) => (url.pathname = url.pathname.replace('other', encodeURIComponent('put by link'))),
      time: (url) => url.searchParams.set('x-oss-expires', '600'),
      more: (url) => url.searchParams.set('response-content-type', 'text/html'),
      signature: (url) => url.searchParams.set('x-oss-signature', '0'.repeat(64)),
    };

    assert.deepEqual(await answer(link), [200, 'other']);
    for (const [part, forge] of Object.entries(forged)) {
      const url = new URL(link);
      forge(url);
      assert.deepEqual(await answer(url), [403, 'SignatureDoesNotMatch'], part);
    }
    assert.deepEqual(await answer(link, { method: 'DELETE' }), [403, 'SignatureDoesNotMatch']);
  });

  it('in a link end with their time', async () => {
    const made = (ago, seconds) => at(ago, () => bucket.signatureUrlV4('GET', seconds, {}, 'other'));

    assert.deepEqual(await answer(await made(61, 60)), [403, 'AccessDenied']);
    assert.deepEqual(await answer(await made(6 * 86_400, 604_800)), [200, 'other']);
    assert.deepEqual(await answer(await made(0, 604_801)), [400, 'InvalidArgument']);
  });

  it('in the header are made now, by the holder of the key', async () => {
    await refused(at(16 * 60, () => bucket.get('other')), 403, 'RequestTimeTooSkewed');
    const wrong = client({ bucket: 'interop-signed', accessKeySecret: 'wrong' });
    await refused(wrong.get('other'), 403, 'SignatureDoesNotMatch');
    await refused(wrong.put('other', Buffer.from('x')), 403, 'SignatureDoesNotMatch');
    assert.deepEqual(await answer(await wrong.signatureUrlV4('GET', 60, {}, 'other')), [403, 'SignatureDoesNotMatch']);
    const unknown = client({ bucket: 'interop-signed', accessKeyId: 'LTAIunknown' });
    await refused(unknown.get('other'), 403, 'InvalidAccessKeyId');
    assert.equal((await bucket.get('other')).content.toString(), 'other');
  });

  it('of version 1 are said not to be here', async () => {
    const old = client({ bucket: 'interop-signed', authorizationV4: false });

    await refused(old.get('other'), 501, 'NotImplemented');
    assert.deepEqual(await answer(old.signatureUrl('other')), [501, 'NotImplemented']);
  });

  /** What a call does that signs as if it were so many seconds ago. */
  async function at(ago, call) {
    const RealDate = Date;
    globalThis.Date = class extends RealDate {
      constructor(...values) {
        super(...(values.length > 0 ? values : [RealDate.now() - ago * 1000]));
      }
    };
    try {
      return await call();
    } finally {
      globalThis.Date = RealDate;
    }
  }
});

describe('buckets', () => {
  it('live, are described, and go when they are empty', async () => {
    const bucket = await fresh('interop-life');

    const { bucket: info } = await bucket.getBucketInfo('interop-life');
    assert.deepEqual([info.Name, info.Location], ['interop-life', `oss-${process.env.REGION}`]);
    const listed = await client().listBuckets({ prefix: 'interop-life' });
    assert.deepEqual(names(listed.buckets), ['interop-life']);
    assert.equal((await bucket.getBucketVersioning('interop-life')).versionStatus, undefined);
    await bucket.putBucketVersioning('interop-life', 'Enabled');
    assert.equal((await bucket.getBucketVersioning('interop-life')).versionStatus, 'Enabled');
    await bucket.deleteBucket('interop-life');
    await refused(bucket.getBucketInfo('interop-life'), 404, 'NoSuchBucket');
  });
});
