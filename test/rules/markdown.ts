/** Just enough of Markdown for the rules: fences, marked sections, tables, links, headings. */

export interface Snippet {
  /** Name in the comment `<!-- run: name -->` in front of it, when it has one: then it is run as well. */
  readonly run: string | undefined;
  readonly code: string;
}

export function snippetsOf(text: string): Snippet[] {
  return [...text.matchAll(/(?:<!-- run: ([\w-]+) -->\n)?```ts\n([\s\S]*?)\n```/g)].map(([, run, code = '']) => ({
    run,
    code,
  }));
}

/** What stands between `<!-- begin: name -->` and `<!-- end: name -->`. */
export function sectionOf(text: string, name: string): string {
  const [, after] = text.split(`<!-- begin: ${name} -->`);
  const [section, rest] = after?.split(`<!-- end: ${name} -->`) ?? [];
  if (section === undefined || rest === undefined) throw new Error(`no section "${name}"`);
  return section;
}

/** The cells of a table, without its head. */
export function rowsOf(section: string): string[][] {
  const lines = section.split('\n').filter((line) => line.startsWith('|'));
  return lines.slice(2).map((line) =>
    line
      .slice(1, line.trimEnd().endsWith('|') ? line.trimEnd().length - 1 : undefined)
      .split('|')
      .map((cell) => cell.trim()),
  );
}

/** The words in code style. */
export function codeOf(text: string): string[] {
  return [...text.matchAll(/`([^`]+)`/g)].map(([, word = '']) => word);
}

/** Targets of links within the repository. */
export function linksOf(text: string): string[] {
  const prose = text.replace(/```[\s\S]*?```/g, '');
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target = '']) => target)
    .filter((target) => !/^[a-z]+:/.test(target));
}

/** The anchors that its headings make. */
export function anchorsOf(text: string): string[] {
  return [...text.matchAll(/^#+ (.+)$/gm)].map(([, title = '']) =>
    title
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s-]/gu, '')
      .trim()
      .replaceAll(/\s/g, '-'),
  );
}
