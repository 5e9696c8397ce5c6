/** The public surface, frozen: a name comes or goes on purpose, together with etc/exports.json and the change log. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import ts from 'typescript';
import { BUILT_LIB, parse, read } from './repository.js';

interface Names {
  readonly values: readonly string[];
  readonly types: readonly string[];
}

const ENTRIES: Readonly<Record<string, string>> = {
  holdfast: 'index',
  'holdfast/probe': 'probe',
  'holdfast/testing': 'testing/index',
};

function exportsOf(source: ts.SourceFile): Names {
  const values: string[] = [];
  const types: string[] = [];
  for (const statement of source.statements) {
    if (ts.isExportDeclaration(statement)) {
      const clause = statement.exportClause;
      assert.ok(
        clause !== undefined && ts.isNamedExports(clause),
        `${source.fileName}: an entry point exports names, not everything`,
      );
      for (const element of clause.elements)
        (statement.isTypeOnly || element.isTypeOnly ? types : values).push(element.name.text);
      continue;
    }
    const exported =
      ts.canHaveModifiers(statement) &&
      ts.getModifiers(statement)?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword);
    if (exported !== true) continue;
    if (ts.isFunctionDeclaration(statement) || ts.isClassDeclaration(statement))
      values.push(statement.name?.text ?? 'default');
    else if (ts.isInterfaceDeclaration(statement) || ts.isTypeAliasDeclaration(statement))
      types.push(statement.name.text);
    else if (ts.isVariableStatement(statement))
      for (const { name } of statement.declarationList.declarations) values.push(name.getText());
    else assert.fail(`${source.fileName}: an export of an unknown kind`);
  }
  return { values: values.sort(), types: types.sort() };
}

describe('public surface', () => {
  it('is what etc/exports.json says', () => {
    const frozen: unknown = JSON.parse(read('etc/exports.json'));
    const now = Object.fromEntries(
      Object.entries(ENTRIES).map(([name, file]) => [name, exportsOf(parse(`lib/${file}.ts`))]),
    );
    assert.deepEqual(now, frozen, 'if it is on purpose: mend etc/exports.json, and say so in CHANGELOG.md');
  });

  it('is in package.json, and nothing else is', () => {
    const manifest: unknown = JSON.parse(read('package.json'));
    assert.ok(typeof manifest === 'object' && manifest !== null && 'exports' in manifest);
    assert.ok(typeof manifest.exports === 'object' && manifest.exports !== null);
    const paths = Object.keys(ENTRIES).map((name) => name.replace('holdfast', '.'));
    assert.deepEqual(Object.keys(manifest.exports).sort(), [...paths, './package.json'].sort());
  });

  for (const [name, file] of Object.entries(ENTRIES)) {
    it(`${name} exports at run time what its source says`, async () => {
      const loaded: object = await import(pathToFileURL(join(BUILT_LIB, `${file}.js`)).href);
      assert.deepEqual(Object.keys(loaded).sort(), exportsOf(parse(`lib/${file}.ts`)).values);
    });
  }
});
