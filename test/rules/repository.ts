/** The repository as the rules look at it: its files, and what their syntax says. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import ts from 'typescript';

/** The folder of package.json: the compiled tests lie some levels below it. */
export const ROOT: string = findRoot(import.meta.dirname);

/** The compiled library that belongs to these tests. */
export const BUILT_LIB: string = join(import.meta.dirname, '..', '..', 'lib');

function findRoot(from: string): string {
  if (existsSync(join(from, 'package.json'))) return from;
  const parent = dirname(from);
  if (parent === from) throw new Error('no package.json above the tests');
  return findRoot(parent);
}

export function read(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}

/** Files below a folder with this ending, with slashes, sorted. */
export function filesBelow(folder: string, ending: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .map((name) => `${folder}/${name.split(sep).join('/')}`)
    .filter((name) => name.endsWith(ending))
    .sort();
}

const parsed = new Map<string, ts.SourceFile>();

export function parse(path: string): ts.SourceFile {
  const known = parsed.get(path) ?? ts.createSourceFile(path, read(path), ts.ScriptTarget.ES2023, true);
  parsed.set(path, known);
  return known;
}

/** Every node below `node`, depth first. */
export function* nodes(node: ts.Node): Generator<ts.Node> {
  yield node;
  for (const child of node.getChildren()) yield* nodes(child);
}

/** What a file names in its imports and re-exports, types included. */
export function specifiersOf(source: ts.SourceFile): string[] {
  const found: string[] = [];
  for (const node of nodes(source)) {
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) {
      if (node.moduleSpecifier !== undefined && ts.isStringLiteral(node.moduleSpecifier))
        found.push(node.moduleSpecifier.text);
    } else if (ts.isImportTypeNode(node)) {
      if (ts.isLiteralTypeNode(node.argument) && ts.isStringLiteral(node.argument.literal))
        found.push(node.argument.literal.text);
    } else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      const [argument] = node.arguments;
      if (argument !== undefined && ts.isStringLiteral(argument)) found.push(argument.text);
    }
  }
  return found;
}

/** A relative specifier as a path from the root (`lib/core/x.ts`); anything else as it is. */
export function resolveFrom(file: string, specifier: string): string {
  if (!specifier.startsWith('.')) return specifier;
  const path = relative(ROOT, join(ROOT, dirname(file), specifier));
  return path.split(sep).join('/').replace(/\.js$/, '.ts');
}

/** Everything a compiled file loads, itself included, over all static imports. Packages by their specifier. */
export function loadedBy(entry: string): Set<string> {
  const seen = new Set<string>();
  const visit = (file: string): void => {
    if (seen.has(file)) return;
    seen.add(file);
    const { statements } = ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.ES2023);
    for (const statement of statements) {
      if (!ts.isImportDeclaration(statement) && !ts.isExportDeclaration(statement)) continue;
      const { moduleSpecifier } = statement;
      if (moduleSpecifier === undefined || !ts.isStringLiteral(moduleSpecifier)) continue;
      if (moduleSpecifier.text.startsWith('.')) visit(join(dirname(file), moduleSpecifier.text));
      else seen.add(moduleSpecifier.text);
    }
  };
  visit(entry);
  return seen;
}
