//! Inputs that are nearly valid: a text of a corpus, with some edits.
//!
//! Bytes by chance are refused at their first one, so that a parser is hardly tried. A corpus is a
//! folder of `corpus/`, with one input in each file: what is valid, what is refused, and what once
//! broke something. It is read by people, too, so it holds the inputs themselves.
//!
//! ```text
//!  corpus/NAME/* ─┬─► each as it is ─────────────┐
//!                 └─► one of them, 0 to 8 edits ─┴─► the property that the target checks
//! ```

use std::{fmt, fs, path::Path, sync::Arc};

use bolero::{TypeGenerator, ValueGenerator, produce};

/// The inputs of a corpus, and words that matter in its language.
#[derive(Clone, Debug)]
pub struct Corpus {
    inputs: Arc<[Vec<u8>]>,
    words: &'static [&'static str],
}

/// One input. Its `Debug` is what to put into a file of the corpus, escaped.
#[derive(Clone, PartialEq, Eq)]
pub struct Input(pub Vec<u8>);

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

impl Corpus {
    /// Reads `corpus/NAME`.
    ///
    /// # Panics
    /// Where it cannot be read, or is empty.
    pub fn read(name: &str, words: &'static [&'static str]) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(name);
        let mut files: Vec<_> = fs::read_dir(&folder)
            .expect("the folder of the corpus")
            .map(|entry| entry.expect("a file of the corpus").path())
            .collect();
        // The same input has the same number everywhere.
        files.sort();
        assert!(!files.is_empty(), "{} is empty", folder.display());
        let inputs = files.iter().map(|file| {
            fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
        });
        Self {
            inputs: inputs.collect(),
            words,
        }
    }

    /// Every input as it is.
    pub fn inputs(&self) -> impl Iterator<Item = Input> {
        self.inputs.iter().cloned().map(Input)
    }

    /// Inputs that are nearly those of the corpus.
    pub fn near(&self) -> impl ValueGenerator<Output = Input> + use<> {
        let corpus = self.clone();
        let edits = produce::<Vec<Edit>>().with().len(0_usize..=8);
        (produce::<u16>(), edits).map_gen(move |(choice, edits)| {
            let mut input = corpus.input(choice).clone();
            for edit in edits {
                edit.apply(&mut input, &corpus);
            }
            Input(input)
        })
    }

    fn input(&self, choice: u16) -> &Vec<u8> {
        &self.inputs[usize::from(choice) % self.inputs.len()]
    }
}

/// One change of an input. Places are taken modulo its length.
#[derive(Clone, Debug, TypeGenerator)]
enum Edit {
    Byte { at: u16, byte: u8 },
    Insert { at: u16, byte: u8 },
    Word { at: u16, word: u16 },
    Remove { at: u16, length: u8 },
    Repeat { at: u16, length: u8, times: u8 },
    Splice { at: u16, of: u16, from: u16 },
    Truncate { at: u16 },
}

/// Inputs do not grow beyond this by edits.
const LONGEST: usize = 1 << 16;

impl Edit {
    fn apply(&self, input: &mut Vec<u8>, corpus: &Corpus) {
        let place = |at: u16| usize::from(at) % (input.len() + 1);
        match *self {
            Self::Byte { at, byte } => {
                let at = place(at);
                if let Some(old) = input.get_mut(at) {
                    *old = byte;
                }
            }
            Self::Insert { at, byte } => input.insert(place(at), byte),
            Self::Word { at, word } => {
                if !corpus.words.is_empty() {
                    let word = corpus.words[usize::from(word) % corpus.words.len()];
                    let at = place(at);
                    input.splice(at..at, word.bytes());
                }
            }
            Self::Remove { at, length } => {
                let at = place(at);
                let end = (at + usize::from(length)).min(input.len());
                input.drain(at..end);
            }
            Self::Repeat { at, length, times } => {
                let at = place(at);
                let end = (at + usize::from(length)).min(input.len());
                let times = usize::from(times);
                if input.len() + (end - at) * times <= LONGEST {
                    let again = input[at..end].repeat(times);
                    input.splice(at..at, again);
                }
            }
            Self::Splice { at, of, from } => {
                let at = place(at);
                let other = corpus.input(of);
                let from = usize::from(from) % (other.len() + 1);
                if input.len() + other.len() <= LONGEST {
                    input.splice(at..at, other[from..].iter().copied());
                }
            }
            Self::Truncate { at } => input.truncate(place(at)),
        }
    }
}
