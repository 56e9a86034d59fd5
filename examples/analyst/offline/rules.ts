/**
 * How the offline model decides: the first rule whose words fit the question asks for tools, and says something once
 * they have answered. A rule keeps nothing in mind; the situation holds all that happened since the question.
 */
import { amount, oneLine, size } from "../render.ts"
import { Files, Matches } from "../tools.ts"
import { portrait } from "./portrait.ts"
import type { Situation, Step } from "./situation.ts"
import { call, outputs, results, say } from "./situation.ts"

interface Rule {
  readonly fits: RegExp
  readonly next: (situation: Situation, match: RegExpExecArray) => Step
}

const listed = (lines: ReadonlyArray<string>, most: number) => [
  ...lines.slice(0, most).map((line) => `- ${line}`),
  ...(lines.length > most ? [`- … and ${lines.length - most} more`] : [])
]

const toolsFailed = ({ answers }: Situation) =>
  say("The tools could not tell:", ...listed(answers.map(({ output }) => oneLine(output)), 3))

const sizeOf = ({ bytes, kinds, total }: typeof Files.Type) =>
  `${amount(total, "file")}, ${size(bytes)}` +
  (total === 0 ? "" : `: ${kinds.slice(0, 6).map(({ files, kind }) => `${files} ${kind}`).join(", ")}`)

const placesOf = ({ matches }: typeof Matches.Type) =>
  matches.map(({ line, path, text }) => `${path}:${line}  ${oneLine(text)}`)

const before: Rule = {
  fits: /\b(?:did|have|had) i (?:just )?(?:ask|say|said|want)|\b(?:previous|last|earlier) questions?\b/i,
  next: ({ earlier }) =>
    earlier.length === 0
      ? say("You have asked nothing before in this conversation.")
      : say("Before this you asked:", ...listed(earlier.toReversed().map((question) => oneLine(question)), 10))
}

const isSilentFailure = /^exit code (?!0 ).*$/

const command: Rule = {
  fits: /^(?:please )?(?:run|execute)(?: the command)?:?\s+(?:`([^`]+)`|(.+))$/is,
  next: (situation, match) => {
    if (!situation.tools.has("shell")) {
      return say("There is no shell in this start. Install bubblewrap, or start with --unconfined.")
    }
    const line = (match[1] ?? match[2])!
    const [output] = outputs(situation, "shell")
    return output === undefined
      ? call({ tool: "shell", arguments: { command: line } })
      : say(
        `${oneLine(line)}: ${output}`,
        ...(isSilentFailure.test(output) ? ["If it needed the network: without --unconfined, commands have none."] : [])
      )
  }
}

const kinds = "symbol|class|function|type|interface|constant|definition of"

const definition: Rule = {
  fits: new RegExp(
    `(?:where is|find|show|locate)\\s+(?:the\\s+)?(?:(?:${kinds})\\s+)?[\`"']?([\\w$]+)[\`"']?(?:\\s+is)?\\s+` +
      `(?:defined|declared|implemented)\\W*$|` +
      `(?:where is|find|show|locate)\\s+(?:the\\s+)?(?:${kinds})\\s+[\`"']?([\\w$]+)[\`"']?\\W*$`,
    "i"
  ),
  next: (situation, match) => {
    const name = (match[1] ?? match[2])!
    if (situation.answers.length === 0) {
      return call(
        { tool: "find_text", arguments: { text: name, kind: "definition" } },
        { tool: "find_text", arguments: { text: name, kind: "name" } }
      )
    }
    const [defined, used] = results(situation, "find_text", Matches)
    if (defined === undefined || used === undefined) return toolsFailed(situation)
    return say(
      defined.total === 0 ? `Nothing here defines ${name}.` : `${name} is defined here:`,
      ...listed(placesOf(defined), 10),
      `The name stands in ${amount(used.total, "line")}; ${amount(used.filesSearched, "file")} searched.`
    )
  }
}

const filler = {
  before:
    /^(?:all|any|every|each|the|an?|lines?|texts?|words?|names?|strings?|occurrences?|uses?|usages?|references?|mentions?|with|containing|that|contains?|of|to|for)\s+/i,
  after:
    /\s+(?:is|are|gets?|being|handled|used|mentioned|called|thrown|caught|raised|created|referenced|imported|exported|comments?|lines?|texts?|here|in (?:this|the) \w+)$/i
}

/** Words without those around them that only make a sentence. */
const withoutFiller = (words: string): string => {
  const rest = words.replace(filler.before, "").replace(filler.after, "")
  return rest === words ? words : withoutFiller(rest)
}

/** The one of several words that looks most like a name in a program. */
const nameIn = (phrase: string): string | undefined => {
  const words = phrase.split(/[\s,;:?!"'`()]+/).filter((word) => word !== "")
  return words.length < 2
    ? undefined
    : words.find((word) => /[a-z\d][A-Z]|\w[_.]\w|\$/.test(word)) ?? words.find((word) => /^[A-Z]\w/.test(word))
}

const text: Rule = {
  fits:
    /^(?:please )?(?:find|search(?: for)?|grep(?: for)?|look for|where (?:is|are)|which files (?:contain|mention|use)|who uses)\s+(.+?)[?!.\s]*$/i,
  next: (situation, match) => {
    const words = withoutFiller(match[1]!)
    const quoted = /^(["'`])(.+)\1$/.exec(words)?.[2]
    const wanted = quoted ?? words
    const name = quoted === undefined ? nameIn(wanted) : undefined
    const search = (text: string) => call({ tool: "find_text", arguments: { text, kind: "text" } })
    if (situation.answers.length === 0) return search(wanted)
    const found = results(situation, "find_text", Matches)
    const last = found.at(-1)
    if (last === undefined || found.length < situation.answers.length) return toolsFailed(situation)
    if (last.total === 0 && found.length === 1 && name !== undefined) return search(name)
    const asked = found.length === 1 ? wanted : name!
    return say(
      ...(asked === wanted ? [] : [`"${oneLine(wanted)}" stands nowhere.`]),
      `"${oneLine(asked)}" stands in ${amount(last.total, "line")}; ${amount(last.filesSearched, "file")} searched.`,
      ...listed(placesOf(last), 15),
      ...(last.total === 0 && quoted === undefined && /\s/.test(match[1]!)
        ? ["Put what to find in quotes: find \"TODO\""]
        : [])
    )
  }
}

const count: Rule = {
  fits:
    /\b(?:how many|count|number of|list|which)\b(?:\s+\S+){0,3}?\s+(\.\w+\s+)?files?\b(?!\s+(?:contain|mention|use)\b)(?:.*?\b(?:in|under|below)\s+[`"']?([\w./-]*\w))?/i,
  next: (situation, match) => {
    const folder = match[2] === undefined || /^(?:this|the|here|it)$/i.test(match[2]) ? "" : match[2]
    if (situation.answers.length === 0) {
      return call({ tool: "find_files", arguments: { folder, part: match[1]?.trim() ?? "" } })
    }
    const [found] = results(situation, "find_files", Files)
    return found === undefined ? toolsFailed(situation) : say(`${sizeOf(found)}.`, ...listed(found.paths, 20))
  }
}

const file: Rule = {
  fits:
    /^(?:please )?(?:explain|describe|summari[sz]e|show|read|open|what is in|what's in|what does|what is|tell me about)\s+(?:me\s+)?(?:the file\s+)?[`"']?([\w@./-]*(?:\.\w{1,10}|README|LICENSE|Makefile|Dockerfile))\b/i,
  next: (situation, match) => {
    const asked = match[1]!.replace(/^\.\//, "")
    if (situation.answers.length === 0) return call({ tool: "find_files", arguments: { folder: "", part: asked } })
    const [found] = results(situation, "find_files", Files)
    if (found === undefined) return toolsFailed(situation)
    const [path, ...others] = found.paths.filter((path) => path === asked || path.endsWith(`/${asked}`))
    if (path === undefined) return say(`There is no file "${asked}" here.`, ...listed(found.paths, 5))
    const [content] = outputs(situation, "read_file")
    if (content === undefined) return call({ tool: "read_file", arguments: { path } })
    if (content.startsWith("Error: ")) return toolsFailed({ ...situation, answers: situation.answers.slice(-1) })
    const lines = /\[lines 1 to \d+ of (\d+)/.exec(content)?.[1] ?? content.split("\n").length
    return say(
      `${path} has ${amount(Number(lines), "line")}.`,
      ...portrait(path, content),
      ...(others.length === 0 ? [] : [`Others of that name: ${oneLine(others.join(", "), 200)}`])
    )
  }
}

const papers = /^(?:README(?:\.\w+)?|package\.json|pyproject\.toml|Cargo\.toml|go\.mod)$/i

const overview: Rule = {
  fits:
    /^(?:please )?(?:what(?:'s| is| does)|describe|explain|summari[sz]e|tell me about|give (?:me )?an overview of)\s+(?:this|the|it|in this|in the)\b[\w\s]*\W*$|^overview\W*$/i,
  next: (situation) => {
    if (situation.answers.length === 0) {
      return call({ tool: "list_files", arguments: {} }, { tool: "find_files", arguments: { folder: "", part: "" } })
    }
    const [files] = results(situation, "find_files", Files)
    const [top] = outputs(situation, "list_files")
    if (files === undefined || top === undefined) return toolsFailed(situation)
    if (files.total === 0) return say("This folder is empty: it has no file that may be seen.")
    const names = top.split("\n").map((line) => line.replace(/ \d+$/, ""))
    const readable = names.filter((name) => papers.test(name))
    const contents = outputs(situation, "read_file")
    if (contents.length < readable.length) {
      return call(...readable.map((path) => ({ tool: "read_file", arguments: { path } })))
    }
    const folders = names.filter((name) => name.endsWith("/"))
    return say(
      ...readable.flatMap((path, index) => portrait(path, contents[index]!)),
      `It has ${sizeOf(files)}.`,
      ...(folders.length === 0 ? [] : [`Its folders: ${oneLine(folders.join(" "), 300)}`])
    )
  }
}

const cannot = (question: string) =>
  say(
    `Without a language model I cannot answer "${
      oneLine(question, 60)
    }". Set OPENAI_API_KEY for one; for a server of ` +
      "your own (Ollama, vLLM, LM Studio) set OPENAI_BASE_URL and AGENT_LAYERS_MODEL.",
    "By rules alone I can answer: What is this project? How many files are there? List .md files. Find \"text\". " +
      "Where is NAME defined? Explain FILE. Run COMMAND. What did I ask before?"
  )

export const decide = (situation: Situation): Step => {
  const question = situation.question.trim()
  // Rules are for short questions; a long one is for somebody who can read.
  for (const rule of question.length > 500 ? [] : [before, command, definition, count, text, overview, file]) {
    const match = rule.fits.exec(question)
    if (match !== null) return rule.next(situation, match)
  }
  return cannot(question)
}
