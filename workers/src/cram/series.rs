//! The data series of a slice (CRAMv3 §8.4, §10): what each is called, how its values are told apart, and what they are
//! like. A series' content id is its place in the table, from 1.

use super::stream::{Coding, Form, Stream};
use std::ops::{Index, IndexMut};

macro_rules! series {
    ($($name:ident $form:expr, $coding:ident;)*) => {
        /// A data series by the specification's name for it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Series { $($name),* }

        impl Series {
            /// All, in the order of their content ids.
            const ALL: &[(&str, Form, Coding)] = &[$((stringify!($name), $form, Coding::$coding)),*];
        }
    };
}

series! {
    BF Form::Integers, Counted;
    CF Form::Integers, Counted;
    RL Form::Integers, Counted;
    AP Form::Integers, Repeated;
    RG Form::Integers, Counted;
    RN Form::Ended(0), Text;
    MF Form::Integers, Repeated;
    NS Form::Integers, Repeated;
    NP Form::Integers, Repeated;
    TS Form::Integers, Repeated;
    NF Form::Integers, Repeated;
    TL Form::Integers, Counted;
    FN Form::Integers, Counted;
    FC Form::Bytes, Counted;
    FP Form::Integers, Repeated;
    BS Form::Bytes, Counted;
    IN Form::Ended(0), Repeated;
    SC Form::Ended(0), Text;
    BA Form::Bytes, Repeated;
    DL Form::Integers, Repeated;
    RS Form::Integers, Repeated;
    PD Form::Integers, Repeated;
    HC Form::Integers, Repeated;
    MQ Form::Integers, Counted;
    QS Form::Bytes, Counted;
}

impl Series {
    /// Its content id.
    pub const fn id(self) -> u32 {
        self as u32 + 1
    }
}

/// The values of every series.
pub struct SeriesStreams(Vec<Stream>);

impl Default for SeriesStreams {
    fn default() -> Self {
        let stream = |(id, &(_, form, coding)): (u32, &_)| Stream::new(id, form, coding);
        SeriesStreams((1..).zip(Series::ALL).map(stream).collect())
    }
}

impl SeriesStreams {
    pub fn clear(&mut self) {
        self.0.iter_mut().for_each(|stream| stream.bytes.clear());
    }

    /// Those that have values, with their names.
    pub fn used(&self) -> impl Iterator<Item = (&'static str, &Stream)> {
        let named = Series::ALL.iter().map(|&(name, ..)| name).zip(&self.0);
        named.filter(|(_, stream)| !stream.bytes.is_empty())
    }
}

impl Index<Series> for SeriesStreams {
    type Output = Stream;

    #[inline]
    fn index(&self, series: Series) -> &Stream {
        &self.0[series as usize]
    }
}

impl IndexMut<Series> for SeriesStreams {
    #[inline]
    fn index_mut(&mut self, series: Series) -> &mut Stream {
        &mut self.0[series as usize]
    }
}
