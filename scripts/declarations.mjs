// Leaves of the declarations what the entry points reach, name by name: the rest is nobody's business.
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import ts from 'typescript';

/** Shakes the declarations below `folder`; `entries` are the paths of those that users import. */
export function shakeDeclarations(folder, entries) {
  const modules = new Map();
  const load = (path) => {
    if (!modules.has(path)) modules.set(path, readModule(path));
    return modules.get(path);
  };
  const keep = (module, statement) => {
    if (module.kept.has(statement)) return;
    module.kept.add(statement);
    for (const name of namesIn(statement)) reach(module, name);
  };
  // `name` as it is known inside of a module.
  const reach = (module, name) => {
    for (const statement of module.declared.get(name) ?? []) keep(module, statement);
    const imported = module.imported.get(name);
    if (imported === undefined || module.names.has(name)) return;
    module.names.add(name);
    if (imported.path !== null) reachExport(load(imported.path), imported.name);
  };
  // `name` as a module offers it.
  const reachExport = (module, name) => {
    const passed = module.passed.get(name);
    if (passed === undefined) return reach(module, name);
    if (module.names.has(`export ${name}`)) return;
    module.names.add(`export ${name}`);
    if (passed.path === null) reach(module, passed.name);
    else reachExport(load(passed.path), passed.name);
  };
  for (const entry of entries) {
    const module = load(resolve(entry));
    for (const name of module.passed.keys()) reachExport(module, name);
    for (const statement of module.exported) keep(module, statement);
  }
  const used = new Map([...modules].filter(([, { names, kept }]) => names.size + kept.size > 0));
  for (const entry of entries) used.set(resolve(entry), load(resolve(entry)));
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const path = resolve(join(entry.parentPath, entry.name));
    if (!entry.isFile() || !path.endsWith('.d.ts')) continue;
    const module = used.get(path);
    if (module === undefined) rmSync(path);
    else writeFileSync(path, textOf(module));
  }
}

function readModule(path) {
  const source = ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.ES2023, true);
  const module = {
    source,
    declared: new Map(),
    exported: [],
    imported: new Map(),
    passed: new Map(),
    kept: new Set(),
    names: new Set(),
  };
  const target = ({ moduleSpecifier }) => {
    const text = moduleSpecifier?.text;
    if (text === undefined || !text.startsWith('.')) return null;
    const found = resolve(dirname(path), text.replace(/\.js$/, '.d.ts'));
    if (!existsSync(found)) throw new Error(`${path} names ${text}, which is not there`);
    return found;
  };
  for (const statement of source.statements) {
    if (ts.isImportDeclaration(statement)) {
      const { name, namedBindings } = statement.importClause ?? {};
      const from = target(statement);
      if (name !== undefined) module.imported.set(name.text, { path: from, name: 'default' });
      if (namedBindings !== undefined && ts.isNamespaceImport(namedBindings)) {
        if (from !== null) throw new Error(`${path}: a namespace of our own cannot be shaken`);
        module.imported.set(namedBindings.name.text, { path: null, name: '*' });
      }
      for (const element of namedBindings?.elements ?? [])
        module.imported.set(element.name.text, { path: from, name: (element.propertyName ?? element.name).text });
    } else if (ts.isExportDeclaration(statement)) {
      for (const element of statement.exportClause?.elements ?? [])
        module.passed.set(element.name.text, {
          path: target(statement),
          name: (element.propertyName ?? element.name).text,
        });
    } else {
      const names = ts.isVariableStatement(statement)
        ? statement.declarationList.declarations.map(({ name }) => name.getText())
        : [statement.name?.text ?? ''];
      for (const name of names) module.declared.set(name, [...(module.declared.get(name) ?? []), statement]);
      if (ts.getCombinedModifierFlags(statement) & ts.ModifierFlags.Export) module.exported.push(statement);
      else if (
        ts.isVariableStatement(statement) &&
        statement.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword)
      )
        module.exported.push(statement);
    }
  }
  return module;
}

function namesIn(node, found = new Set()) {
  if (ts.isIdentifier(node)) found.add(node.text);
  if (ts.isImportTypeNode(node)) throw new Error(`${node.getText()} cannot be shaken: import it by name`);
  ts.forEachChild(node, (child) => void namesIn(child, found));
  return found;
}

function textOf({ source, kept, names }) {
  const out = [];
  for (const statement of source.statements) {
    if (ts.isImportDeclaration(statement)) {
      const { importClause } = statement;
      const bindings = importClause?.namedBindings;
      const elements = (bindings?.elements ?? []).filter(({ name }) => names.has(name.text));
      const whole = bindings !== undefined && ts.isNamespaceImport(bindings) && names.has(bindings.name.text);
      const standard = importClause?.name !== undefined && names.has(importClause.name.text);
      if (whole || standard) out.push(statement.getText());
      else if (elements.length > 0) out.push(listed('import', importClause.isTypeOnly, elements, statement));
    } else if (ts.isExportDeclaration(statement)) {
      const elements = (statement.exportClause?.elements ?? []).filter(({ name }) => names.has(`export ${name.text}`));
      if (elements.length > 0) out.push(listed('export', statement.isTypeOnly, elements, statement));
    } else if (kept.has(statement)) {
      const comment = ts.getJSDocCommentsAndTags(statement)[0]?.getText();
      const code = statement.getText();
      out.push(comment === undefined ? code : `${comment}\n${code}`);
    }
  }
  if (!/^\s*export /m.test(out.join('\n'))) out.push('export {};');
  return `${out.join('\n')}\n`;
}

function listed(word, typeOnly, elements, { moduleSpecifier }) {
  const names = elements.map((element) => element.getText()).join(', ');
  const from = moduleSpecifier === undefined ? '' : ` from ${moduleSpecifier.getText()}`;
  return `${word}${typeOnly ? ' type' : ''} { ${names} }${from};`;
}
