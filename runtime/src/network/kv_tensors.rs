//! The KV cache of a session: the graph's inputs for cached keys and values, and the outputs that these come from.

use std::fmt::Debug;

use half::{bf16, f16};
use ort::session::{Session, SessionOutputs};
use ort::value::{PrimitiveTensorElementType, Tensor, TensorElementType};

use crate::network::kv_cache::{FoundPrefixes, KvCache, NewPrefix};
use crate::network::plan::Plan;
use crate::network::tensors::tensor;
use crate::onnxruntime::session::NamedInput;

/// The KV cache of one session, for any float type.
pub(crate) trait KvTensors: Debug + Send {
    /// Finds the cached prefixes of a batch.
    fn find(&mut self, sequences: &[&[u32]]) -> FoundPrefixes;

    /// Selects the prefixes to store of a batch that is about to be computed.
    fn select_new(
        &mut self,
        sequences: &[&[u32]],
        found: &FoundPrefixes,
        plan: &Plan,
    ) -> Vec<NewPrefix>;

    /// The graph's inputs, `[P, width]` each.
    fn inputs(&self, found: &FoundPrefixes) -> ort::Result<Vec<NamedInput<'_>>>;

    /// The graph's outputs in the order of the inputs: key and value of each layer in turn. They are `[P + T, width]`, or `[T, width]`
    /// if attention reads cached tokens where they are.
    fn outputs(&self) -> Vec<&str>;

    /// The width of each tensor.
    fn width(&self) -> usize;

    /// Stores the keys and values of selected prefixes, from the graph's outputs for this many packed tokens.
    fn store(
        &mut self,
        found: &FoundPrefixes,
        new: &[NewPrefix],
        packed_tokens: usize,
        outputs: &SessionOutputs<'_>,
    ) -> ort::Result<()>;
}

/// Creates the KV cache of a session, with at most this many bytes; `None` if the graph has no inputs for it.
pub(crate) fn of_session(session: &Session, bytes: usize) -> Option<Box<dyn KvTensors>> {
    let inputs = session
        .inputs()
        .iter()
        .filter(|i| i.name().starts_with(INPUT));
    let names: Vec<String> = inputs.clone().map(|i| i.name().to_owned()).collect();
    let (kind, width) = tensor(inputs.clone().next()?.dtype())?;
    Some(match kind {
        TensorElementType::Float16 => Typed::<f16>::boxed(names, width, bytes),
        TensorElementType::Bfloat16 => Typed::<bf16>::boxed(names, width, bytes),
        _ => Typed::<f32>::boxed(names, width, bytes),
    })
}

/// The beginning of the inputs' names. The outputs have the rest as names.
const INPUT: &str = "prefix_";

#[derive(Debug)]
struct Typed<T> {
    names: Vec<String>,
    width: usize,
    /// The keys and values of a prefix's last token, those of all inputs one after another.
    cache: KvCache<Box<[T]>>,
}

impl<T: PrimitiveTensorElementType + Debug + Copy + Send + 'static> Typed<T> {
    fn boxed(names: Vec<String>, width: usize, bytes: usize) -> Box<dyn KvTensors> {
        let entry = names.len() * width * size_of::<T>();
        Box::new(Self {
            names,
            width,
            cache: KvCache::new(bytes.checked_div(entry).unwrap_or(0)),
        })
    }
}

impl<T: PrimitiveTensorElementType + Debug + Copy + Send + 'static> KvTensors for Typed<T> {
    fn find(&mut self, sequences: &[&[u32]]) -> FoundPrefixes {
        self.cache.find(sequences)
    }

    fn select_new(
        &mut self,
        sequences: &[&[u32]],
        found: &FoundPrefixes,
        plan: &Plan,
    ) -> Vec<NewPrefix> {
        self.cache.select_new(sequences, found, plan)
    }

    fn inputs(&self, found: &FoundPrefixes) -> ort::Result<Vec<NamedInput<'_>>> {
        let shape = [found.prefixes.len(), self.width];
        let values: Vec<&[T]> = found
            .prefixes
            .iter()
            .map(|prefix| &**self.cache.values(*prefix))
            .collect();
        let input = |(number, name)| {
            let part = number * self.width..(number + 1) * self.width;
            let mut tensor = Vec::with_capacity(values.len() * self.width);
            for entry in &values {
                tensor.extend_from_slice(&entry[part.clone()]);
            }
            Ok((name, Tensor::<T>::from_array((shape, tensor))?.into()))
        };
        let names = self.names.iter().map(String::as_str);
        names.enumerate().map(input).collect()
    }

    fn outputs(&self) -> Vec<&str> {
        self.names.iter().map(|name| &name[INPUT.len()..]).collect()
    }

    fn width(&self) -> usize {
        self.width
    }

    fn store(
        &mut self,
        found: &FoundPrefixes,
        new: &[NewPrefix],
        packed_tokens: usize,
        outputs: &SessionOutputs<'_>,
    ) -> ort::Result<()> {
        let width = self.width;
        let cached = found.prefixes.len();
        let values: Vec<&[T]> = self
            .outputs()
            .iter()
            .map(|name| Ok(outputs[*name].try_extract_tensor::<T>()?.1))
            .collect::<ort::Result<_>>()?;
        self.cache.store(found, new, |index| {
            let mut entry = Vec::with_capacity(values.len() * width);
            for output in &values {
                // Stored prefixes are computed tokens, which come last in the outputs.
                let row = index - cached + output.len() / width - packed_tokens;
                entry.extend_from_slice(&output[row * width..(row + 1) * width]);
            }
            entry.into()
        });
        Ok(())
    }
}
