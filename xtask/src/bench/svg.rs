//! Just enough SVG: shapes into a string, colours by class so that the page's style sheet decides.

use std::fmt::Display;

/// A drawing.
pub struct Svg {
    width: f64,
    height: f64,
    body: String,
}

/// Where a text stands from its point.
#[derive(Clone, Copy)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

impl Svg {
    /// An empty one, in pixels.
    pub fn new(width: f64, height: f64) -> Self {
        Self { width, height, body: String::new() }
    }

    /// A filled rectangle with a text that shows under the pointer.
    pub fn rect(&mut self, (x, y): (f64, f64), (w, h): (f64, f64), class: &str, hint: &str) {
        let hint = escape(hint);
        self.body += &format!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" class=\"{class}\">\
             <title>{hint}</title></rect>\n"
        );
    }

    /// A text whose middle line is at the point.
    pub fn text(&mut self, (x, y): (f64, f64), anchor: Anchor, class: &str, text: impl Display) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escape(&text.to_string());
        self.body += &format!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" \
             dominant-baseline=\"central\" class=\"{class}\">{text}</text>\n"
        );
    }

    /// A line through points.
    pub fn line(&mut self, points: &[(f64, f64)], class: &str) {
        let points: Vec<_> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let points = points.join(" ");
        self.body += &format!("<polyline points=\"{points}\" class=\"{class}\"/>\n");
    }

    /// A dot with a text that shows under the pointer.
    pub fn dot(&mut self, (x, y): (f64, f64), class: &str, hint: &str) {
        let hint = escape(hint);
        self.body += &format!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" class=\"{class}\">\
             <title>{hint}</title></circle>\n"
        );
    }

    /// The element. It shrinks with the page, with a description for those who cannot see it.
    pub fn finish(self, description: &str) -> String {
        let Self { width, height, body } = self;
        let description = escape(description);
        format!(
            "<svg viewBox=\"0 0 {width:.0} {height:.0}\" style=\"max-width:{width:.0}px\" \
             role=\"img\" aria-label=\"{description}\">\n{body}</svg>\n"
        )
    }
}

/// Text for XML and HTML, in elements and attributes.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_break_out() {
        assert_eq!(escape("a<b> & \"c\" 'd'"), "a&lt;b&gt; &amp; &quot;c&quot; &#39;d&#39;");
        let mut svg = Svg::new(10.0, 10.0);
        svg.rect((0.0, 0.0), (1.0, 1.0), "c0", "</title><script>");
        svg.text((0.0, 0.0), Anchor::End, "", "<b>");
        let svg = svg.finish("\"><script>");
        assert!(!svg.contains("<script>") && !svg.contains("<b>"), "{svg}");
    }

    #[test]
    fn shapes_become_elements() {
        let mut svg = Svg::new(100.0, 50.0);
        svg.line(&[(0.0, 1.0), (2.0, 3.25)], "axis");
        svg.dot((5.0, 6.0), "c1", "here");
        let svg = svg.finish("two");
        assert!(svg.starts_with("<svg viewBox=\"0 0 100 50\""), "{svg}");
        assert!(svg.contains("<polyline points=\"0.0,1.0 2.0,3.2\" class=\"axis\"/>"), "{svg}");
        assert!(svg.contains("<title>here</title></circle>") && svg.ends_with("</svg>\n"));
    }
}
